"""A Redis that crashes amid a submit and comes back without its newest writes: every way in says so, nothing was
accepted, and the same submit said again is accepted whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import httpx2
import pytest

from sigmafarm import Config, Farm
from sigmafarm.http.server import HttpServer
from sigmafarm_common.store.redis_store import RedisStore
from tests.command_line import runner
from tests.farm_hand import FarmHand
from tests.limits import LIMIT_S
from tests.redis_server import RedisServer

#: Rows that go to Redis in four calls.
NUM_ROWS = 1700
LOST = "Redis has lost its newest writes"
BODIES = {
    "application/json": json.dumps({"prompts": ["a"] * NUM_ROWS}),
    "application/x-ndjson": '"a"\n' * NUM_ROWS,
    "text/csv": "prompt\n" + "a\n" * NUM_ROWS,
    "text/plain": "a\n" * NUM_ROWS,
}


@pytest.fixture
def farm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Farm]:
    """A farm whose server crashes once: it was on its disk before the second call with rows, and dies before the
    third."""
    server = RedisServer(tmp_path / "redis")
    server.start()
    add_rows, calls = RedisStore.add_rows, count(1)

    def crashing(*said: Any, **more: Any) -> None:
        if (number := next(calls)) == 2:
            server.client().save()
        if number == 3:
            server.kill()
            server.start()
        add_rows(*said, **more)

    monkeypatch.setattr(RedisStore, "add_rows", crashing)
    with Farm(Config(redis_url=server.url, data_dir=tmp_path / "data", http_port=0)) as farm:
        FarmHand(farm)
        yield farm
    server.stop()


@pytest.mark.parametrize("kind", BODIES)
def test_a_submit_over_http_is_refused_and_the_same_said_again_is_whole(farm: Farm, kind: str):
    headers = {"Content-Type": kind, "Idempotency-Key": "k"}
    with HttpServer(farm.config, has_keeper=False) as server, httpx2.Client(base_url=server.url) as http:
        lost = http.post("/v1/batches", content=BODIES[kind], headers=headers, timeout=LIMIT_S)
        assert farm.batches() == []
        FarmHand(farm)
        again = http.post("/v1/batches", content=BODIES[kind], headers=headers, timeout=LIMIT_S)

    assert (lost.status_code, lost.json()["error"]["code"]) == (503, "records_lost"), lost.text
    assert LOST in lost.text
    assert "nothing was accepted, submit it again" in lost.text
    assert (again.status_code, again.json()["batch"]["counts"]["queued"]) == (201, NUM_ROWS), again.text


def test_a_submit_of_a_file_by_the_command_line_is_refused_and_the_same_said_again_is_whole(
    farm: Farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    run, prompts = runner(farm, monkeypatch, capsys), tmp_path / "prompts.txt"
    prompts.write_text(BODIES["text/plain"])

    lost = run("submit", prompts, "--idempotency-key", "k")
    assert farm.batches() == []
    FarmHand(farm)
    again = run("submit", prompts, "--idempotency-key", "k")

    assert (lost.code, lost.out) == (3, "")
    assert LOST in lost.err
    assert "nothing was accepted, submit it again" in lost.err
    assert again.code == 0, again.err
    assert farm.batch(again.out.strip()).counts.queued == NUM_ROWS
