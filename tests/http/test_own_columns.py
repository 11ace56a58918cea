"""Columns of the submitter's own over HTTP: kept by a submission, found by a filter, seen on a job's page."""

from __future__ import annotations

import httpx2
import pytest

from sigmafarm import Farm
from tests.farm_hand import FarmHand

TABLE = b"prompt,id,split\na,A7,train\nb,<b>B2</b>,test\nc,C9,train\n"


def submit_table(http: httpx2.Client, **said: str) -> httpx2.Response:
    return http.post("/v1/batches", content=TABLE, headers={"content-type": "text/csv"}, params=said)


def test_a_submission_keeps_what_it_names_in_every_form_of_body(http: httpx2.Client, farm: Farm, hand: FarmHand):
    rows = [{"prompt": "a", "id": 7, "split": "test"}]

    as_table = submit_table(http, keep="split").json()["batch"]["id"]
    as_json = http.post("/v1/batches", json={"jobs": rows, "keep": "split, x"}).json()["batch"]["id"]
    as_form = http.post("/v1/batches", files={"file": ("in.csv", TABLE)}, data={"keep": "split"}).json()["batch"]["id"]

    listed = http.get(f"/v1/batches/{as_table}/jobs").json()["jobs"]
    assert listed[0]["request"]["columns"] == {"id": "A7", "split": "train"}
    assert listed[0]["request"]["line"] == 2
    assert [job.request.columns for job in farm.batch(as_json).jobs()] == [{"id": "7", "split": "test"}]
    assert [job.request.columns for job in farm.batch(as_form).jobs()][2] == {"id": "C9", "split": "train"}


@pytest.mark.parametrize("said", [{}, {"keep": "seed"}])
def test_what_is_not_named_or_cannot_be_kept_is_refused_with_the_cure(
    http: httpx2.Client, hand: FarmHand, said: dict[str, str]
):
    answer = submit_table(http, **said)

    assert answer.status_code == 422
    cure = "keep names seed, which a job has already" if said else "keep=split keeps it with the jobs"
    assert cure in answer.json()["error"]["message"]


def test_jobs_are_found_counted_and_cancelled_by_a_column(http: httpx2.Client, farm: Farm, hand: FarmHand):
    batch = submit_table(http, keep="split").json()["batch"]["id"]
    where = {"where": ["split=train", "line=4"]}

    found = http.get(f"/v1/batches/{batch}/jobs", params=where).json()["jobs"]
    num = http.get(f"/v1/batches/{batch}/count", params={"where": "split=train"}).json()["num"]
    http.post(f"/v1/batches/{batch}/cancel", params=where)
    bad = http.get(f"/v1/batches/{batch}/jobs", params={"where": "=x"})

    assert [job["request"]["columns"]["id"] for job in found] == ["C9"]
    assert num == 2
    assert [job.row for job in farm.batch(batch).jobs(state="cancelled")] == [2]
    assert (bad.status_code, "must be a column and its value" in bad.text) == (422, True)


def test_the_dashboard_shows_them_escaped_and_keeps_the_filter_in_every_link(http: httpx2.Client, hand: FarmHand):
    batch = submit_table(http, keep="split").json()["batch"]["id"]

    job = http.get(f"/jobs/{batch}-000001").text
    page = http.get(f"/batches/{batch}", params={"where": "split=train"}).text

    assert "<dt>id</dt>" in job
    assert "&lt;b&gt;B2&lt;/b&gt;" in job
    assert "line 3" in job
    assert '<input type="hidden" name="where" value="split=train">' in page
    assert f"/batches/{batch}/confirm?where=split%3Dtrain&amp;act=cancel" in page
