"""A farm in other threads and processes: each opens its own connections, and what travels are the settings."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

from sigmafarm import Config, Farm, FarmJob, Job, NotFound
from sigmafarm.connections import Connections
from tests.farm_hand import FarmHand


def test_a_farm_a_batch_and_a_job_travel_by_pickle(farm: Farm, hand: FarmHand):
    batch = farm.submit(["a"])
    hand.work_all()
    job = next(batch.jobs())

    farm_there, batch_there, job_there = pickle.loads(pickle.dumps((farm, batch, job)))

    assert farm_there.batch(batch.id).counts.succeeded == 1
    assert batch_there.counts.succeeded == 1
    assert (job_there, job_there.image().size) == (job, (64, 64))


def test_a_farm_that_was_given_its_store_says_why_it_cannot_travel(farm: Farm):
    with pytest.raises(TypeError, match="make it of settings alone"):
        pickle.dumps(Farm(farm.config, store=farm.store))


def look(farm: Farm, batch_id: str, found: multiprocessing.connection.Connection) -> None:
    found.send((farm.batch(batch_id).counts.total, os.getpid()))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_opens_its_own_connections(farm: Farm, hand: FarmHand):
    batch, store, objects = farm.submit(["a"]), farm.store, farm.objects
    ours, theirs = multiprocessing.Pipe()

    child = multiprocessing.get_context("fork").Process(target=look, args=(farm, batch.id, theirs))
    child.start()
    total, pid = ours.recv()
    child.join()

    assert (total, pid != os.getpid(), child.exitcode) == (1, True, 0)
    assert (farm.store, farm.objects) == (store, objects)
    assert farm.batch(batch.id).counts.total == 1


def test_a_process_with_another_number_forgets_what_its_parent_opened(farm: Farm, monkeypatch: pytest.MonkeyPatch):
    ways = Connections(farm.config)
    store, objects = ways.store, ways.objects

    monkeypatch.setattr(os, "getpid", lambda: -1)

    assert ways.store is not store
    assert ways.objects is not objects


def test_threads_that_ask_at_once_share_one_store(farm: Farm):
    begin = threading.Barrier(8)

    def ask(_: int) -> int:
        begin.wait()
        return id(farm.store)

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(ask, range(8)))) == 1


def test_a_farm_that_was_closed_answers_again(farm: Farm, hand: FarmHand):
    with farm:
        batch = farm.submit(["a"])

    farm.close()

    assert batch.counts.total == 1


def test_a_job_is_its_record_and_fetches_its_picture(farm: Farm, hand: FarmHand):
    batch = farm.submit(["a", "fail b", "c"])
    for claim in hand.claim()[:2]:
        hand._finish(claim)
    drawn, failed, open_one = batch.jobs()

    assert isinstance(drawn, Job)
    assert type(farm.job(drawn.id)) is FarmJob
    assert drawn == farm.store.job(drawn.id) == farm.job(drawn.id)
    assert drawn != failed
    assert drawn.model_dump() == farm.store.job(drawn.id).model_dump()
    assert drawn.image().size == (64, 64)
    with pytest.raises(NotFound, match=f"{failed.id} has no picture: it is failed: no luck"):
        failed.image()
    with pytest.raises(NotFound, match="it is running"):
        open_one.image()


def test_a_cell_says_why_a_farm_does_not_answer(tmp_path: Path):
    farm = Farm(Config(data_dir=tmp_path))

    assert "no farm to talk to" in farm._repr_html_()


def test_cells_have_no_link_where_nobody_knows_the_dashboard(
    farm: Farm, hand: FarmHand, redis_client: redis.Redis, tmp_path: Path
):
    batch = farm.submit(["a"])

    assert "<a " not in batch._repr_html_() + farm._repr_html_() + farm.job(f"{batch.id}-000000")._repr_html_()
    linked = Farm(Config(redis_url=farm.config.redis_url, data_dir=tmp_path, dashboard_url="https://farm.example/"))
    assert f'href="https://farm.example/batches/{batch.id}"' in linked.batch(batch.id)._repr_html_()
