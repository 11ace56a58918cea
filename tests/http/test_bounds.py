"""Bodies that are wrong in a million places: a small answer with a count, and little memory and time of everybody's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from sigmafarm import Farm
from sigmafarm_common.errors import MAX_ERRORS, MAX_MESSAGE_CHARS, MAX_NAME_CHARS, MAX_SENTENCE_CHARS
from tests.limits import LIMIT_S, until
from tests.terminal import Terminal

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("hand")]

MANY, LONG = 150_000, 3_000_000
JSON, LINES, CSV = "application/json", "application/x-ndjson", "text/csv"
NAMES = {f"n{n}": 1 for n in range(MANY)}
#: The most bytes of an answer: the message, and each field's name and sentence, all of them escaped.
MAX_ANSWER_BYTES = 2 * (MAX_MESSAGE_CHARS + MAX_ERRORS * (MAX_NAME_CHARS + MAX_SENTENCE_CHARS + 100))


def said(body: Any) -> bytes:
    return json.dumps(body).encode()


#: What is sent to POST /v1/batches, by its type.
BODIES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "numbers for prompts": (JSON, lambda: said({"prompts": [1] * 2_000_000})),
    "numbers for prompts, fewer than may come": (JSON, lambda: said({"prompts": [1] * 90_000})),
    "objects for prompts": (JSON, lambda: said({"prompts": [{}] * 1_000_000})),
    "texts for jobs": (JSON, lambda: said({"jobs": ["a"] * 90_000})),
    "bad jobs": (JSON, lambda: said({"jobs": [{"width": 3, "height": "x", "steps": 4}] * 5_000})),
    "prompts and jobs": (JSON, lambda: said({"prompts": ["a"] * 99_000, "jobs": [{"prompt": "a"}] * 99_000})),
    "names at the top": (JSON, lambda: said({"prompts": ["a"], **NAMES})),
    "names in defaults": (JSON, lambda: said({"prompts": ["a"], "defaults": NAMES})),
    "names in one job": (JSON, lambda: said({"jobs": [{"prompt": "a", **NAMES}]})),
    "names in every job": (JSON, lambda: said({"jobs": [{f"n{n}": n for n in range(60)}] * 1_000})),
    "a value of lists": (JSON, lambda: said({"prompts": ["a"], "defaults": {"width": [[]] * 300_000}})),
    "a row of lists": (JSON, lambda: said({"jobs": [{"prompt": [[]] * 300_000}]})),
    "a body of lists": (JSON, lambda: said([[]] * 4_000_000)),
    "lists in the place of rows": (JSON, lambda: said({"prompts": {"a": [[]] * 3_000_000}})),
    "a deep value": (JSON, lambda: b'{"prompts": ["a"], "defaults": {"width": ' + b"[" * 400 + b"]" * 400 + b"}}"),
    "a very deep value": (JSON, lambda: b'{"prompts": ["a"], "name": ' + b"[" * LONG),
    "a deep row": (JSON, lambda: b'{"jobs": [{"prompt": ' + b"[" * 800 + b"]" * 800 + b"}]}"),
    "a long name": (JSON, lambda: said({"prompts": ["a"], "x" * LONG: 1})),
    "a long name in a job": (JSON, lambda: said({"jobs": [{"prompt": "a", "x" * 500_000: 1}]})),
    "a long value": (JSON, lambda: said({"prompts": ["a"], "priority": "9" * LONG})),
    "a long model": (JSON, lambda: said({"jobs": [{"prompt": "a", "model": "m" * 500_000}] * 9})),
    "a long prompt": (JSON, lambda: said({"prompts": ["\x1b" * LONG]})),
    "a long number": (JSON, lambda: b'{"prompts": ["a"], "repeat": ' + b"9" * LONG + b"}"),
    "a number of 4,000 digits": (JSON, lambda: b'{"jobs": [{"prompt": "a", "seed": ' + b"9" * 4_000 + b"}]}"),
    "a long number in a job": (JSON, lambda: b'{"jobs": [{"prompt": "a", "seed": ' + b"9" * 100_000 + b"}]}"),
    "bad lines": (LINES, lambda: b"[]\n" * 99_000),
    "lines of names": (LINES, lambda: said({"prompt": "a", **{f"n{n}": 1 for n in range(9_000)}}) + b"\n"),
    "lines of many bad values": (LINES, lambda: (said({"width": 3, "height": 4, "seed": -1}) + b"\n") * 9_000),
    "a line of lists": (LINES, lambda: said([[]] * 4_000_000)),
    "a line without an end": (LINES, lambda: b'"' + b"x" * LONG),
    "a deep line": (LINES, lambda: b"[" * 900_000),
    "bad cells": (CSV, lambda: b"prompt,width\n" + b"a,65\n" * 9_000),
    "cells without a column": (CSV, lambda: b"prompt\na" + b",x" * 450_000),
    "columns": (CSV, lambda: b"prompt" + b",c" * 400_000),
    "the same column": (CSV, lambda: b"prompt" + b",prompt" * 100_000),
    "a long column": (CSV, lambda: b"prompt," + b"x" * 130_000),
    "a header without an end": (CSV, lambda: b"prompt," + b"," * LONG),
    "a row of cells on many lines": (CSV, lambda: b'prompt\n"\n"' + b',"\n"' * 700_000),
    "a quote that is never closed": (CSV, lambda: b'prompt\n"' + b"a\n" * 1_000_000),
    "a long line of text": ("text/plain", lambda: b"\x1b" * LONG),
    "lines of text that are too long": ("text/plain", lambda: (b"x" * 20_000 + b"\n") * 200),
}


def check_bounded(response: httpx2.Response) -> Any:
    """The answer is a refusal, and a small one; return it."""
    assert response.status_code in (413, 422), response.text[:300]
    assert len(response.content) <= MAX_ANSWER_BYTES
    body = response.json()
    assert len(body["message"]) <= MAX_MESSAGE_CHARS + 40
    assert len(body["fields"]) <= MAX_ERRORS
    assert all(len(f["field"]) <= MAX_NAME_CHARS + 40 for f in body["fields"])
    assert all(len(f["message"]) <= MAX_SENTENCE_CHARS + 40 for f in body["fields"])
    return body


@pytest.mark.parametrize("name", BODIES)
def test_whatever_is_wrong_how_often_ever_the_answer_is_small_and_nothing_stays(
    http: httpx2.Client, farm: Farm, name: str
):
    kind, body = BODIES[name]

    check_bounded(http.post("/v1/batches", content=body(), headers={"Content-Type": kind}))

    assert farm.batches() == []


@pytest.mark.parametrize("name", ["bad jobs", "bad lines", "bad cells"])
def test_where_all_rows_are_bad_skipping_them_is_refused_in_few_words_too(http: httpx2.Client, name: str):
    kind, body = BODIES[name]

    answer = http.post("/v1/batches?skip_bad=1", content=body(), headers={"Content-Type": kind})

    assert "more bad rows" in check_bounded(answer)["message"]


def test_rows_that_are_skipped_are_told_a_hundred_times_and_counted(http: httpx2.Client):
    body = b"[]\n" * 5_000 + b'"good"\n'

    made = http.post("/v1/batches?skip_bad=1", content=body, headers={"Content-Type": LINES}).json()

    assert (len(made["skipped"]), made["num_skipped"], made["batch"]["counts"]["total"]) == (MAX_ERRORS, 5_000, 1)


def test_an_answer_counts_what_it_does_not_spell_out(http: httpx2.Client):
    rows = check_bounded(http.post("/v1/batches", json={"prompts": [1] * 5_000}))
    names = check_bounded(http.post("/v1/batches", json={"prompts": ["a"], **{f"n{n}": 1 for n in range(60)}}))
    lines = check_bounded(http.post("/v1/batches", content=b"[]\n" * 5_000, headers={"Content-Type": LINES}))

    assert "and 4980 more" in rows["message"]
    assert "and 40 more" in names["message"]
    assert "5000 of 5000 rows are bad" in lines["message"]
    assert "and 4980 more bad rows" in lines["message"]


@pytest.mark.parametrize(
    "query",
    [
        "&".join(f"n{n}=1" for n in range(3_000)),
        "&".join("width=x" for _ in range(2_000)),
        "repeat=" + "9" * 12_000,
        "model=" + "m" * 12_000,
        "name=" + "%1b" * 4_000,
    ],
    ids=["names", "one name", "a number", "a model", "a name"],
)
def test_a_query_is_bounded_too(http: httpx2.Client, query: str):
    check_bounded(http.post(f"/v1/batches?{query}", json={"prompts": ["a"]}))


@pytest.mark.parametrize(
    "path",
    [
        "/v1/batches?" + "&".join(f"status=n{n}" for n in range(1_000)),
        "/v1/batches?cursor=" + "x" * 12_000,
        "/v1/batches?limit=" + "9" * 12_000,
        "/v1/batches/b/jobs?" + "&".join(f"state=n{n}" for n in range(1_000)),
        "/v1/events?after=" + "9" * 12_000,
    ],
    ids=range(5),
)
def test_a_list_refuses_what_is_no_filter_in_few_words(http: httpx2.Client, path: str):
    check_bounded(http.get(path))


def test_an_id_as_long_as_an_address_may_be_is_repeated_in_part(http: httpx2.Client):
    for path in ("/v1/batches/", "/v1/jobs/", "/v1/models/"):
        answer = http.get(path + "%1b" * 4_000)

        assert answer.status_code == 404
        assert len(answer.content) < 2 * MAX_SENTENCE_CHARS


def test_a_form_is_bounded_too(http: httpx2.Client):
    file = {"file": ("p.csv", b"prompt,width\n" + b"a,65\n" * 9_000)}

    check_bounded(http.post("/v1/batches", files=file))
    check_bounded(http.post("/v1/batches", files={"file": b"a"}, data={f"n{n}": "1" for n in range(30)}))
    check_bounded(http.post("/v1/batches", files={"file": b"a"}, data={f"n{n}": "1" for n in range(900)}))
    check_bounded(http.post("/v1/batches", files={"file": b"a"}, data={"x" * 200_000: "1", "seed": "9" * 200_000}))


def test_a_change_of_a_batch_is_bounded_too(http: httpx2.Client):
    check_bounded(http.patch("/v1/batches/b", json={f"n{n}": 1 for n in range(4_000)}))
    check_bounded(http.patch("/v1/batches/b", json={"priority": "9" * 60_000}))
    check_bounded(http.patch("/v1/batches/b", json=NAMES))


@pytest.mark.parametrize("path", ["/v1/images/generations", "/sdapi/v1/txt2img"])
def test_the_fronts_answer_in_few_words_too(http: httpx2.Client, path: str):
    texts = ("prompt", "negative_prompt", "seed", "steps", "width", "sampler_name", "model", "size", "n", "scheduler")
    bodies = [
        dict.fromkeys(texts, "x" * 80000),
        {name: [[]] * 5_000 for name in texts},
        {"prompt": "a", "model": "m" * 200_000, "override_settings": {"sd_model_checkpoint": "m" * 200_000}},
        {"prompt": "a", "seed": int("9" * 4_000), "steps": int("9" * 4_000)},
    ]

    for body in bodies:
        answer = http.post(path, json=body)
        assert 400 <= answer.status_code < 500, answer.text[:300]
        assert len(answer.content) <= MAX_ANSWER_BYTES


def test_the_dashboards_form_is_bounded_too(http: httpx2.Client):
    page = {"Accept": "text/html", "Sec-Fetch-Site": "same-origin"}
    fields = {"prompts": "{a|b}" * 200, "seed": "9" * 100_000, "format": "text", "alternatives": "yes"}
    file = {"file": ("p.jsonl", b"[]\n" * 90_000)}

    for path in ("/submit", "/submit/count"):
        answers = [
            http.post(path, data=fields, files={"x": b""}, headers=page),
            http.post(path, files=file, headers=page),
        ]
        assert all(len(answer.content) < 300_000 for answer in answers), [len(a.content) for a in answers]


# -- the process


@pytest.fixture
def serving(tmp_path: Path, redis_url: str) -> Iterator[tuple[str, int]]:
    """The address and the process of a server of its own."""
    terminal = Terminal(tmp_path, SIGMAFARM_REDIS_URL=redis_url, SIGMAFARM_DATA_DIR=tmp_path / "data")
    process = terminal.start("serve", "--port", "0", log="serve.log")
    until(lambda: "are at http://" in (tmp_path / "serve.log").read_text(), "it says its address")
    url = (tmp_path / "serve.log").read_text().split("are at ")[1].split()[0]
    until(lambda: httpx2.get(url + "/healthz").status_code == 200, "it lives")
    yield url, process.pid
    terminal.close()


def peak_mib(pid: int) -> float:
    line = next(x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def test_what_is_wrong_a_million_times_costs_little_memory(serving: tuple[str, int]):
    url, pid = serving
    httpx2.post(url + "/v1/batches", json={"prompts": ["a"]})
    before = peak_mib(pid)

    for name in ("numbers for prompts", "names at the top", "names in one job", "a line of lists", "a body of lists"):
        kind, body = BODIES[name]
        content = body()
        httpx2.post(url + "/v1/batches", content=content, headers={"Content-Type": kind}, timeout=LIMIT_S)

    assert peak_mib(pid) - before < 150  # 661 for the first alone, when all of it was collected
