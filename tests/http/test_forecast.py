"""When things will be done, and whose turn it is, over HTTP and on pages."""

from __future__ import annotations

import re
from typing import Any

import httpx2
import pytest

from sigmafarm import Farm, FarmBatch
from sigmafarm_common.store.values import PACE_S
from tests.farm_hand import FarmHand

HTML = {"Accept": "text/html"}


@pytest.fixture
def batch(farm: Farm, hand: FarmHand) -> FarmBatch:
    """Forty jobs, one of them drawn and one running, on a farm that draws one each ten seconds."""
    hand.info = hand.info.model_copy(update={"slots": 1, "lookahead": 0})
    made = farm.submit(["a"] * 40)
    store: Any = farm.store
    last = store.now_ms() // (PACE_S * 1000) - 1
    for slot in range(last - 12, last):
        store.client.hset(store.redis.key("pace"), mapping={str(slot): 1, f"{slot}:work": int(0.2 * 1e6)})
    hand.work()
    hand.claim()
    return made


def test_a_batch_the_farm_and_a_job_that_waits_have_a_range(http: httpx2.Client, batch: FarmBatch):
    said, farm = http.get(f"/v1/batches/{batch.id}").json(), http.get("/v1/farm").json()
    (listed,) = http.get("/v1/batches").json()["batches"]
    job = http.get(f"/v1/jobs/{batch.id}-000011").json()
    running = http.get(f"/v1/jobs/{batch.id}-000001").json()

    assert said["eta_range_s"][0] < said["eta_s"] < said["eta_range_s"][1]
    assert said["eta_s"] == pytest.approx(39 * 10, rel=0.1)
    assert said["eta_range_s"] == listed["eta_range_s"] == farm["batches"][0]["eta_range_s"] == farm["eta_range_s"]
    assert (job["queue_position"], job["queue_length"], job["is_position_exact"]) == (10, 38, True)
    assert job["eta_range_s"][1] < said["eta_range_s"][1]
    assert "queue_position" not in running


def test_what_is_over_paused_or_waits_for_nobody_has_none(
    http: httpx2.Client, farm: Farm, hand: FarmHand, batch: FarmBatch
):
    paused = http.post(f"/v1/batches/{batch.id}/pause").json()
    job = http.get(f"/v1/jobs/{batch.id}-000011").json()
    hand.work_all()
    batch.cancel()
    done = http.get(f"/v1/batches/{batch.id}").json()

    assert (paused["eta_s"], paused["eta_range_s"]) == (None, None)
    assert "queue_position" not in job
    assert (done["is_done"], done["eta_s"], done["eta_range_s"]) == (True, None, None)


def test_pages_say_the_range_and_the_turn(http: httpx2.Client, batch: FarmBatch):
    pages = [http.get(path, headers=HTML).text for path in (f"/batches/{batch.id}", "/batches", "/")]
    job = http.get(f"/jobs/{batch.id}-000011", headers=HTML).text

    assert all(re.search(r"about \d+ to \d+ min left", page) for page in pages)
    assert '<span class="hint" id="turn">10th of 38 waiting; about ' in job
    assert 'id="turn"' not in http.get(f"/jobs/{batch.id}-000001", headers=HTML).text


def test_the_form_says_the_range_before_the_click(http: httpx2.Client, batch: FarmBatch):
    said = {"prompts": "a barn\n" * 40, "num_inference_steps": "20", "width": "128", "height": "128"}

    told = http.post("/submit/count", files={name: (None, text) for name, text in said.items()}).text

    assert re.search(
        r'<b id="count-num">40</b> jobs, <span id="count-time">about \d+ to \d+ \w+ at the farm’s pace', told
    )


def test_who_asks_again_within_a_second_costs_no_look_at_the_line(http: httpx2.Client, farm: Farm, batch: FarmBatch):
    store: Any = farm.store
    http.get("/v1/models")

    def cost() -> int:
        before = store.client.info("stats")["total_commands_processed"]
        http.get(f"/v1/batches/{batch.id}")
        return store.client.info("stats")["total_commands_processed"] - before - 1

    assert min(cost() for _ in range(5)) <= 1
