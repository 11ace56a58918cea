"""Celery with relier around it: its worker, its decorator, an idempotency key per job, as its quickstart has it."""

from __future__ import annotations

from relier import rl_task

from tests.bench.queues.apps.work import work_async


@rl_task(queue="default", idempotent=True, hard_timeout=30)
async def render(number: int) -> None:
    await work_async(number)


def submit(num: int) -> None:
    for n in range(num):
        render.push(n)
