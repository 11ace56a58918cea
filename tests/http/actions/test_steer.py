"""Steering by HTTP: pause, resume, priority, cancel and retry, of all jobs or of those that a filter means; drain."""

from __future__ import annotations

import httpx2
import pytest

from sigmafarm import Farm, FarmBatch
from tests.farm_hand import FarmHand


@pytest.fixture
def batch(farm: Farm, hand: FarmHand) -> FarmBatch:
    """Six jobs: two drawn, two failed, two queued."""
    hand.info = hand.info.model_copy(update={"slots": 4, "lookahead": 0})
    batch = farm.submit(["a", "b", "fail c", "fail d", "e", "f"])
    hand.work()
    return batch


def test_pause_resume_and_priority_answer_the_batch(http: httpx2.Client, batch: FarmBatch):
    path = f"/v1/batches/{batch.id}"

    assert http.post(path + "/pause").json()["is_paused"] is True
    assert http.post(path + "/resume").json()["is_paused"] is False
    assert http.patch(path, json={"priority": -7}).json()["priority"] == -7


@pytest.mark.parametrize(
    "body", [{}, {"priority": 101}, {"priority": "7"}, {"priority": 7, "name": "x"}, {"priority": True}, []]
)
def test_a_change_that_cannot_be_is_said(http: httpx2.Client, batch: FarmBatch, body: object):
    response = http.patch(f"/v1/batches/{batch.id}", json=body)

    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")


@pytest.mark.parametrize("body", [b"\r\xa9A\xff", b"{", b"[" * 5000, b""], ids=["bytes", "half", "deep", "none"])
def test_a_change_that_is_no_json_is_said(http: httpx2.Client, batch: FarmBatch, body: bytes):
    response = http.patch(f"/v1/batches/{batch.id}", content=body, headers={"Content-Type": "application/json"})

    assert (response.status_code, set(response.json())) == (422, {"code", "message", "fields", "retryable", "error"})


def test_cancel_and_retry_all(http: httpx2.Client, batch: FarmBatch):
    path = f"/v1/batches/{batch.id}"

    cancelled = http.post(path + "/cancel").json()
    retried = http.post(path + "/retry").json()

    assert (cancelled["num_changed"], cancelled["counts"]["cancelled"], cancelled["is_complete"]) == (2, 2, True)
    assert (retried["num_changed"], retried["counts"]["queued"], retried["counts"]["failed"]) == (2, 2, 0)


def test_retry_by_state_by_reason_and_by_text(http: httpx2.Client, batch: FarmBatch):
    path = f"/v1/batches/{batch.id}/retry"
    http.post(f"/v1/batches/{batch.id}/cancel")

    assert http.post(path + "?state=cancelled&q=f").json()["num_changed"] == 1
    assert http.post(path + "?error_code=other").json()["num_changed"] == 0
    assert http.post(path + "?error_code=render_failed").json()["num_changed"] == 2
    assert http.post(path + "?state=succeeded").json()["num_changed"] == 0
    assert http.post(path + "?state=cancelled&state=failed").json()["num_changed"] == 1


def test_cancel_the_queued_and_keep_the_running(http: httpx2.Client, farm: Farm, hand: FarmHand):
    hand.info = hand.info.model_copy(update={"slots": 2, "lookahead": 0})
    batch = farm.submit(["a", "b", "c"])
    hand.claim()

    steered = http.post(f"/v1/batches/{batch.id}/cancel?state=queued").json()

    assert (steered["num_changed"], steered["counts"]["running"], steered["counts"]["cancelled"]) == (1, 2, 1)


def test_one_job(http: httpx2.Client, batch: FarmBatch):
    first, third, fifth = (f"/v1/jobs/{batch.id}-00000{row}" for row in (0, 2, 4))

    assert http.post(fifth + "/cancel").json()["state"] == "cancelled"
    assert http.post(fifth + "/retry").json()["state"] == "queued"
    assert http.post(third + "/retry").json()["state"] == "queued"
    refused = http.post(first + "/retry")
    assert (refused.status_code, refused.json()["code"]) == (409, "illegal_transition")
    assert "is succeeded and cannot be retried" in refused.json()["message"]


def test_a_worker_is_drained_and_undrained(http: httpx2.Client, farm: Farm, hand: FarmHand):
    drained = http.post("/v1/workers/hand/drain")
    farm.submit(["a"])

    assert drained.json()["is_draining"] is True
    assert hand.work() == 0
    assert http.post("/v1/workers/hand/undrain").json()["is_draining"] is False
    assert hand.work() == 1
    assert http.post("/v1/workers/nobody/drain").status_code == 404
