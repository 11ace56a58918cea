"""Matrices by way of the API and the form: what they make, the limits, and what is wrong told by field."""

from __future__ import annotations

import re
from pathlib import Path

import httpx2
import pytest

from sigmafarm import Config, Farm
from tests.farm_hand import FarmHand


@pytest.fixture
def config(config: Config, tmp_path: Path) -> Config:
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "animal.txt").write_text("fox\nowl\n", "utf-8")
    return config.replaced(wildcards=lists, max_rows=100)


def token_of(http: httpx2.Client) -> str:
    found = re.search(r'name="csrf_token" value="([0-9a-f]+)"', http.get("/submit").text)
    assert found
    return found.group(1)


def test_a_sweep_in_json_and_in_a_query(http: httpx2.Client, farm: Farm, hand: FarmHand) -> None:
    body = {"prompts": ["a"], "sweep": {"guidance_scale": [5, 7.5], "sampler": ["lms", "euler"]}, "repeat": 2}
    in_json = http.post("/v1/batches", json=body)
    query = [("sweep", "steps=5,9"), ("sweep", "seed=1..2"), ("alternatives", "true")]
    in_query = http.post("/v1/batches", params=query, content="a __animal__\n", headers={"Content-Type": "text/plain"})

    assert (in_json.status_code, in_query.status_code) == (201, 201)
    jobs = list(farm.batch(in_json.json()["batch"]["id"]).jobs())
    assert [job.request.labels for job in jobs][1:3] == [
        {"row": "1", "guidance_scale": "5", "sampler": "lms", "repeat": "2"},
        {"row": "1", "guidance_scale": "5", "sampler": "euler", "repeat": "1"},
    ]
    assert in_query.json()["batch"]["counts"]["total"] == 8
    assert http.get(f"/v1/jobs/{jobs[0].id}").json()["request"]["labels"]["sampler"] == "lms"
    assert "Chosen for this job" in http.get(f"/jobs/{jobs[0].id}").text


def test_a_plan_says_what_would_be_made(http: httpx2.Client, farm: Farm, hand: FarmHand) -> None:
    body = {"prompts": ["a __animal__"], "alternatives": True, "sweep": {"steps": [5, 9]}, "repeat": 3}

    plan = http.post("/v1/plan", json=body)
    too_many = http.post("/v1/plan", json={**body, "repeat": 50})

    assert (plan.status_code, plan.json()["num_jobs"]) == (200, 12)
    assert plan.json()["jobs"][0]["prompt"] == "a fox"
    assert too_many.status_code == 413
    assert farm.batches() == []


def test_draws_of_alternatives(http: httpx2.Client, farm: Farm, hand: FarmHand) -> None:
    body = {"jobs": [{"prompt": "{9::a|b} __animal__"}], "alternatives": True, "draws": 5, "draw_seed": 3}

    ids = [http.post("/v1/batches", json=body).json()["batch"]["id"] for _ in range(2)]

    first, second = ([job.request.prompt for job in farm.batch(each).jobs()] for each in ids)
    assert len(first) == 5
    assert first == second


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"sweep": {"with": [1]}}, 422, "sweep names 'with'"),
        ({"sweep": [1]}, 422, "sweep must be an object"),
        ({"sweep": {"seed": {"a": 1}}}, 422, "must be a list of values"),
        ({"sweep": {"seed": "1..101"}}, 413, "more than 100"),
        ({"draws": 3}, 422, "only alternatives can be drawn"),
        ({"draws": "3", "alternatives": True}, 422, "draws is '3': must be a whole number"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_accepted(
    http: httpx2.Client, farm: Farm, hand: FarmHand, body: dict[str, object], status: int, said: str
) -> None:
    answer = http.post("/v1/batches", json={"prompts": ["a"], **body})

    assert answer.status_code == status
    assert said in answer.text
    assert farm.batches() == []


def test_the_form_counts_and_submits_a_sweep(http: httpx2.Client, farm: Farm, hand: FarmHand) -> None:
    fields = {
        "csrf_token": token_of(http),
        "prompts": "a __animal__",
        "alternatives": "yes",
        "sweep": "steps=5,9\nsampler=lms,euler",
        "format": "text",
    }

    count = http.post("/submit/count", data=fields)
    submitted = http.post("/submit", data=fields)

    assert '<b id="count-num">8</b>' in count.text
    assert submitted.status_code == 303
    (batch,) = farm.batches()
    assert batch.counts.total == 8


def test_a_bad_sweep_stands_beside_its_box(http: httpx2.Client, farm: Farm, hand: FarmHand) -> None:
    answer = http.post(
        "/submit", data={"csrf_token": token_of(http), "prompts": "a", "sweep": "width=515", "format": "text"}
    )

    assert answer.status_code == 422
    assert 'id="sweep-problem"' in answer.text
    assert farm.batches() == []
