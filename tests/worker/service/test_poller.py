"""Previews while somebody looks, and the word that a worker is drained."""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest
import redis
from PIL import Image

from sigmafarm_common.clock import SystemClock
from sigmafarm_common.settings import RenderRequest
from sigmafarm_common.store.redis_store import RedisStore
from sigmafarm_worker.engine import Engine
from sigmafarm_worker.models import Model
from sigmafarm_worker.service.desk import Desk
from sigmafarm_worker.service.poller import Poller
from sigmafarm_worker.service.throughput import WINDOW_S, Rate
from tests.common.store_contract import CONFIG, claim_all, dispatch, submit, worker


class Stage:
    """A worker with one claimed job in a stepped engine."""

    def __init__(self, model: Model, client: redis.Redis):
        self.store, self.engine = RedisStore(CONFIG, client), Engine(model)
        self.desk = Desk(self.engine, SystemClock(), stall_s=10)
        self.drained: list[bool] = []
        self.poller = Poller("w1", self.store, self.desk, self.drained.append, SystemClock())
        submit(self.store)
        (self.claim,) = claim_all(self.store, dispatch(self.store, slots=1))
        held = self.desk.hold(self.claim)
        held.future = self.engine.submit(RenderRequest(prompt="a", num_inference_steps=9, seed=1))


@pytest.fixture
def stage(model: Model, redis_client: redis.Redis) -> Stage:
    return Stage(model, redis_client)


def test_nothing_is_shown_while_nobody_looks(stage: Stage) -> None:
    stage.engine.step()

    stage.poller.run_once()

    assert stage.store.preview(stage.claim.job_id) is None


def test_what_is_drawn_is_shown_while_somebody_looks(stage: Stage) -> None:
    stage.store.want_previews(60)
    stage.poller.run_once()
    assert stage.store.preview(stage.claim.job_id) is None, "no step was done"

    stage.engine.step()
    stage.engine.step()
    stage.poller.run_once()

    preview = stage.store.preview(stage.claim.job_id)
    assert preview is not None
    assert (preview.step, preview.fence) == (2, stage.claim.fence)
    image = Image.open(io.BytesIO(preview.webp))
    assert (image.format, image.size) == ("WEBP", (8, 8))
    assert np.asarray(image).std() > 0
    assert stage.store.job(stage.claim.job_id).step == 2


def test_a_picture_of_somebody_elses_is_not_shown(stage: Stage) -> None:
    other: Future[Any] = stage.engine.submit(RenderRequest(prompt="b", num_inference_steps=9, seed=2))
    stage.store.want_previews(60)
    stage.engine.step()

    assert [claim for claim, _ in stage.desk.glimpses()] == [stage.claim]
    assert len(stage.engine.glimpses()) == 2
    assert not other.done()


def test_drained_worker_is_told_once_and_told_when_it_is_over(stage: Stage) -> None:
    stage.store.renew(worker("w1"), [])
    for is_draining in (True, True, False, False):
        stage.store.drain_worker("w1", is_draining=is_draining)
        stage.poller.run_once()

    assert stage.drained == [True, False]


def test_rate_is_the_growth_over_the_window() -> None:
    rate = Rate()
    told: Callable[[int, float], float] = rate.per_s

    assert told(5, 100.0) == 0.0
    assert told(25, 110.0) == 2.0
    assert told(25, 100.0 + WINDOW_S) == pytest.approx(20 / WINDOW_S)
    assert told(25, 110.0 + WINDOW_S) == 0.0
