"""What a job costs in Redis's memory once it is over: a million of them must fit on a small server."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from sigmafarm_common.config import Config
from sigmafarm_common.store.redis_store import RedisStore
from sigmafarm_common.store.values import Claim, Output
from tests.common.store_contract import FakeMs, claim_all, request, submit, worker

#: Jobs measured, and their prompts.
NUM_JOBS, PROMPT = 2000, "a watercolour of a lighthouse at dusk, long shadows, " * 2
#: What a job may cost beside its prompt once it succeeded, and once it failed, on any server: they and the allocators
#: that they were built with differ by a third.
DONE_LIMIT_BYTES, FAILED_LIMIT_BYTES = 1024, 2432


def finish(store: RedisStore, claim: Claim) -> None:
    key = f"{claim.batch_id}/{claim.job_id[-6:]}-f{claim.fence}.png"
    assert store.finish(claim.job_id, claim.fence, Output(key, "a" * 64, 1_234_567, 1_234, "0f3c9a71d2e4"))


def fail(store: RedisStore, claim: Claim) -> None:
    why = "the latents became NaN at step 7 of 50: the settings are too stiff for the sampler"
    store.fail(claim.job_id, claim.fence, code="trajectory_diverged", message=why, retryable=False)


ENDS = pytest.mark.parametrize(("end", "limit_bytes"), [(finish, DONE_LIMIT_BYTES), (fail, FAILED_LIMIT_BYTES)])


@ENDS
def test_a_job_that_is_over_costs_little_beside_its_prompt(
    redis_client: redis.Redis, end: Callable[[RedisStore, Claim], None], limit_bytes: int
):
    assert 200 < cost_bytes(redis_client, end) <= limit_bytes


def test_a_long_prompt_that_a_thousand_jobs_share_is_kept_once(redis_client: redis.Redis):
    store, prompt = RedisStore(Config(), redis_client, now_ms=FakeMs()), "a very long prompt, " * 800
    rows = [request(prompt).model_copy(update={"seed": seed, "negative_prompt": prompt[::-1]}) for seed in range(1000)]
    submit(store, 10)
    before_bytes = used_bytes(redis_client)

    batch = submit(store, requests=rows)

    assert (used_bytes(redis_client) - before_bytes) / len(rows) < 2048
    assert [job.request for job in store.jobs(batch.id, limit=1000)] == rows


def cost_bytes(client: redis.Redis, end: Callable[[RedisStore, Claim], None]) -> float:
    """Return what one job costs beside its prompt on an empty server."""
    store = RedisStore(Config(), client, now_ms=FakeMs())
    fill_the_event_stream(client)
    live(store, 100, end)  # what is there once for all jobs is there now
    before_bytes = used_bytes(client)

    live(store, NUM_JOBS, end)

    return (used_bytes(client) - before_bytes) / NUM_JOBS - len(PROMPT)


def live(store: RedisStore, num_jobs: int, end: Callable[[RedisStore, Claim], None]) -> None:
    """Bring so many jobs from their submit to their end."""
    submit(store, requests=[request(f"{PROMPT}{n:05d}") for n in range(num_jobs)])
    store.renew(worker(slots=num_jobs), [])
    while dispatched := store.dispatch():
        for claim in claim_all(store, [d.job_id for d in dispatched]):
            end(store, claim)


def fill_the_event_stream(client: redis.Redis) -> None:
    """Write as many events as are kept: from here on one goes for each that comes."""
    pipeline, limit = client.pipeline(transaction=False), Config().event_limit
    fields = {"kind": "job.running", "batch": "0" * 15, "job": "0" * 15 + "-000000", "worker": "w1"}
    for _ in range(limit + 200):
        pipeline.xadd("sigmafarm:events", fields, maxlen=limit, approximate=True)
    pipeline.execute()


def used_bytes(client: redis.Redis) -> int:
    return client.info("memory")["used_memory"]  # type: ignore[index]
