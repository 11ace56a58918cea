"""The words of a search: what they mean, and what is said to words that mean nothing."""

from __future__ import annotations

from typing import Any

import pytest

from sigmafarm.search import JobFilter, JobOrder, Query
from sigmafarm.search.fields import field_names
from sigmafarm.search.looking import Found
from sigmafarm.search.telling import told
from sigmafarm_common.errors import InvalidRequest
from sigmafarm_common.settings import SETTING_FIELDS
from sigmafarm_common.states import JobState
from sigmafarm_common.store.values import Glance


def a_job(prompt: str = "A red Fox in snow", row: int = 0, **about: Any) -> Glance:
    request = {"prompt": prompt, "seed": 7, "num_inference_steps": 25, "sampler": "lms", "guidance_scale": 7.5}
    request |= {"karras_sigmas": False, "model": "sd15", "labels": {"animal": "fox"}}
    fate = {"worker": "gpu1-cuda0", "error_code": "render_failed", "error": "the latents became NaN", "rating": 4}
    return Glance("b", row, JobState.FAILED, request, **{**fate, "warnings": ("prompt_cut",), **about})


@pytest.mark.parametrize(
    "search",
    [
        "",
        "fox",
        "FOX red",
        '"red fox"',
        '"in snow',
        "seed:7",
        "seed:5..8",
        "seed:7..",
        "seed:..7",
        "steps:25",
        "num_inference_steps:25",
        "num-inference-steps:20..30",
        "guidance:7.5",
        "STATE:failed",
        "sampler:lms",
        "karras_sigmas:no",
        "model:SD",
        'prompt:"red fox"',
        "worker:gpu1",
        "error:nan",
        "error:render_failed",
        "warning:cut",
        "rating:4",
        "rated:3..5",
        "label:animal=fox",
        "row:0",
        "  fox   seed:7\tstate:failed ",
    ],
)
def test_a_job_is_found_by_each_of_its_parts(search: str):
    assert Query.parse(search).matches(a_job())


@pytest.mark.parametrize(
    "search",
    [
        "owl",
        "fox owl",
        '"fox red"',
        "seed:8",
        "seed:8..",
        "steps:..24",
        "state:queued",
        "worker:gpu2",
        "error:oom",
        "sampler:euler",
        "label:owl",
        "karras_sigmas:yes",
        "fox seed:8",
        "warning:other",
        "rating:5",
        "rated:..3",
        "row:1..3",
    ],
)
def test_a_job_that_lacks_one_part_is_not_found(search: str):
    assert not Query.parse(search).matches(a_job())


def test_a_text_with_a_colon_is_searched_in_quotes():
    job = a_job("style:anime, (red:1.2), seed:9")

    assert Query.parse('"style:anime"').matches(job)
    assert Query.parse("(red:1.2)").matches(job), "no name begins with a bracket"
    assert Query.parse('"seed:9"').matches(job)
    assert not Query.parse("seed:9").matches(job)


def test_a_large_seed_is_searched_to_its_last_digit():
    job = a_job()._replace(request={"seed": 2**63 - 1})

    assert Query.parse(f"seed:{2**63 - 1}").matches(job)
    assert not Query.parse(f"seed:{2**63 - 2}").matches(job)


@pytest.mark.parametrize(
    ("search", "words"),
    [
        ("sede:7", "nothing is called 'sede': there are state:, worker:, error:"),
        ("style:anime", 'stands in quotes: "style:anime"'),
        ("seed:", "seed: says no value; such as seed:7 or seed:20..30"),
        ("seed:seven", "seed:'seven': must be a number, or two: seed:7 or seed:20..30"),
        ("state:done", "state:'done': must be one of queued, running, succeeded, failed, cancelled"),
        ("sampler:best", "sampler:'best': must be one of "),
        ("karras_sigmas:maybe", "must be one of true, yes"),
    ],
)
def test_a_word_that_means_nothing_is_answered_with_those_that_do(search: str, words: str):
    with pytest.raises(InvalidRequest) as refused:
        Query.parse(search)

    assert words in str(refused.value)
    assert refused.value.fields[0].field == "search"


def test_every_setting_can_be_searched_for():
    assert {"seed", "steps", "sampler", "model", "prompt", "state", "worker", "error"} <= set(field_names())
    assert all(Query.parse(f'{name}:"{_value_of(name)}"').conditions for name in SETTING_FIELDS)


def _value_of(name: str) -> str:
    field = SETTING_FIELDS[name]
    return field.choices[0] if field.choices else "1"


def test_only_what_is_asked_for_is_read():
    asked = {search: Query.parse(search) for search in ("state:failed", "zebra", "worker:a", "row:3")}

    assert [query.has_request for query in asked.values()] == [False, True, False, False]
    assert [query.has_fate for query in asked.values()] == [False, False, True, False]
    assert asked["state:failed"].states == {JobState.FAILED}
    assert asked["state:failed"].is_by_state_only


def test_a_states_filter_and_a_state_in_the_search_narrow_each_other():
    wanted = JobFilter(frozenset({JobState.FAILED, JobState.QUEUED}), search="state:failed")

    assert wanted.wanted_states == {JobState.FAILED}
    assert JobFilter(search="state:failed state:queued").wanted_states == frozenset()
    assert JobFilter().wanted_states is None
    assert JobFilter(problem="no").query == Query()
    assert not JobFilter(problem="no").matches(a_job())


@pytest.mark.parametrize(
    ("wanted", "num", "num_drawn", "words"),
    [
        (JobFilter(search="zebra"), 41, 41, "41 pictures whose prompt holds 'zebra'"),
        (JobFilter(search="zebra"), 1, 1, "1 picture whose prompt holds 'zebra'"),
        (JobFilter(search="zebra"), 0, 0, "no prompt holds 'zebra'"),
        (JobFilter(search='"red fox" snow'), 0, 0, "no prompt holds 'red fox' and 'snow'"),
        (JobFilter(search="zebra"), 3, 2, "3 jobs whose prompt holds 'zebra', 2 of them drawn"),
        (JobFilter(search="seed:7"), 2, 0, "2 jobs with seed 7, none of them drawn"),
        (JobFilter(search="seed:7"), 0, 0, "no job with seed 7"),
        (JobFilter(search="seed:7 zebra"), 0, 0, "no job with seed 7 whose prompt holds 'zebra'"),
        (JobFilter(search="steps:20..30 state:queued"), 2, 0, "with steps 20 to 30 and state queued, none"),
        (
            JobFilter(frozenset({JobState.FAILED}), "nan", "a"),
            0,
            0,
            "no job with state failed and error code nan whose",
        ),
        (JobFilter(search="\x1b[2J"), 0, 0, "no prompt holds '\\x1b[2J'"),
    ],
)
def test_a_search_says_how_many_there_are(wanted: JobFilter, num: int, num_drawn: int, words: str):
    found = Found([f"b-{n:06d}" for n in range(num)], num_drawn)

    assert words in told(wanted, found)


def test_a_search_that_ended_at_its_bound_says_so():
    found = Found([], num_seen=20_000, is_complete=False)

    assert told(JobFilter(search="a"), found) == "no prompt holds 'a' among the first 20,000 that were looked at"


def test_jobs_are_sorted_by_each_order_and_those_without_a_value_stand_last():
    jobs = [
        a_job(row=0, started_ms=10, finished_ms=40, worker="b")._replace(request={"seed": 5}),
        a_job(row=1, started_ms=10, finished_ms=20, worker="")._replace(request={"seed": 9}, state=JobState.QUEUED),
        a_job(row=2, worker="a")._replace(request={}, state=JobState.SUCCEEDED),
    ]

    def rows(order: str) -> list[int]:
        return [job.row for job in JobOrder(order).sort(jobs)]

    assert (rows("row"), rows("-row")) == ([0, 1, 2], [2, 1, 0])
    assert (rows("seed"), rows("-seed")) == ([0, 1, 2], [1, 0, 2])
    assert (rows("took"), rows("-took")) == ([1, 0, 2], [0, 1, 2])
    assert (rows("worker"), rows("-worker")) == ([2, 0, 1], [0, 2, 1])
    assert (rows("state"), rows("-state")) == ([1, 2, 0], [0, 2, 1])
    assert JobOrder.TOOK.turned is JobOrder.TOOK_DOWN
