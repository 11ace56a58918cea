"""POST /v1/batches: every form of a body, all or nothing, limits, and text that is meant to hurt."""

from __future__ import annotations

import html
import json
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
import redis

from sigmafarm import Config, Farm
from sigmafarm.http.server import HttpServer
from tests.farm_hand import FarmHand
from tests.limits import LIMIT_S, until

pytestmark = pytest.mark.usefixtures("hand")

JSONL = {"Content-Type": "application/x-ndjson"}


def submit(http: httpx2.Client, status: int = 201, **kwargs: Any) -> Any:
    response = http.post("/v1/batches", **kwargs)
    assert response.status_code == status, response.text
    return response.json()


def prompts_of(farm: Farm, made: Any) -> list[str]:
    return [job.request.prompt for job in farm.batch(made["batch"]["id"]).jobs()]


def test_json_of_prompts_becomes_a_batch(http: httpx2.Client, farm: Farm):
    body = {"prompts": ["a", "b"], "name": "two", "priority": 3, "defaults": {"width": 72, "seed": 5}}

    response = http.post("/v1/batches", json=body)
    made = response.json()

    assert response.status_code == 201
    assert response.headers["location"] == f"/v1/batches/{made['batch']['id']}"
    assert (made["is_new"], made["skipped"], made["batch"]["name"], made["batch"]["priority"]) == (True, [], "two", 3)
    assert made["batch"]["counts"]["queued"] == made["batch"]["counts"]["total"] == 2
    jobs = list(farm.batch(made["batch"]["id"]).jobs())
    assert [(j.request.prompt, j.request.width, j.request.seed, j.owner) for j in jobs] == [
        ("a", 72, 5, "local"),
        ("b", 72, 5, "local"),
    ]


def test_json_of_jobs_with_settings_of_their_own(http: httpx2.Client, farm: Farm):
    made = submit(http, json={"jobs": [{"prompt": "a", "seed": 4}], "repeat": 3})

    assert [job.request.seed for job in farm.batch(made["batch"]["id"]).jobs()] == [4, 5, 6]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/x-ndjson", '{"prompt": "a"}\n"b"\n'),
        ("application/jsonl", '{"prompt": "a"}\n\n"b"'),
        ("text/csv", "prompt,seed\na,4\nb,\n"),
        ("text/plain; charset=utf-8", "a\n\nb\n"),
    ],
)
def test_rows_of_every_form(http: httpx2.Client, farm: Farm, kind: str, body: str):
    made = submit(http, content=body, headers={"Content-Type": kind}, params={"name": "n", "width": 80})

    assert prompts_of(farm, made) == ["a", "b"]
    assert made["batch"]["defaults"] == {"width": 80}


def test_reuse_is_said_of_a_whole_batch(http: httpx2.Client):
    by_body = submit(http, json={"prompts": ["a"], "reuse": True})
    by_query = submit(http, content="a\n", headers={"Content-Type": "text/plain"}, params={"reuse": "true"})
    unsaid = submit(http, json={"prompts": ["a"]})

    assert [made["batch"]["reuse"] for made in (by_body, by_query, unsaid)] == [True, True, False]


def test_a_samplers_name_with_karras_is_two_settings_in_rows_queries_and_bodies(http: httpx2.Client, farm: Farm):
    name, both = "DPM++ 2M Karras", ("dpmpp_2m", True)
    csv = {"content": f"prompt,sampler\na,{name}\n", "headers": {"Content-Type": "text/csv"}}
    query = {"content": "a", "headers": {"Content-Type": "text/plain"}, "params": {"sampler": name}}

    for asked in (csv, query, {"json": {"prompts": ["a"], "defaults": {"sampler": name}}}):
        (job,) = farm.batch(submit(http, **asked)["batch"]["id"]).jobs()

        assert (job.request.sampler, job.request.karras_sigmas) == both


@pytest.mark.parametrize(
    ("name", "body"), [("p.csv", "prompt\na\nb\n"), ("p.jsonl", '"a"\n"b"\n'), ("p.txt", "a\nb\n"), ("", "a\nb\n")]
)
def test_a_file_in_a_form_is_read_by_its_ending(http: httpx2.Client, farm: Farm, name: str, body: str):
    made = submit(http, files={"file": (name or "blob", body.encode())}, data={"name": "f", "num_inference_steps": "9"})

    assert prompts_of(farm, made) == ["a", "b"]
    assert (made["batch"]["name"], made["batch"]["defaults"]) == ("f", {"num_inference_steps": 9})


def test_a_form_says_how_its_file_is_written(http: httpx2.Client, farm: Farm):
    for name, body, said in (("p.dat", "prompt,seed\na,1\n", "csv"), ("p.yaml", "a\n", "text")):
        batch = submit(http, files={"file": (name, body.encode())}, data={"format": said})["batch"]["id"]
        assert [job.request.prompt for job in farm.batch(batch).jobs()] == ["a"]

    refused = submit(http, 422, files={"file": ("p.dat", b"a")}, data={"format": "xlsx"})
    assert refused["message"] == "format is 'xlsx': must be text, jsonl, json, csv, tsv"


def test_ten_thousand_rows_stream_in(http: httpx2.Client, farm: Farm):
    body = "".join(f'{{"prompt": "picture {n}", "seed": {n}}}\n' for n in range(10_000))

    made = submit(http, content=body, headers=JSONL)

    assert made["batch"]["counts"]["queued"] == 10_000


def test_one_bad_row_refuses_all_and_every_bad_row_is_told_with_its_number(http: httpx2.Client, farm: Farm):
    body = '{"prompt": "a"}\n{"prompt": "b", "width": 515}\nnonsense\n{"prompt": "c", "steps": 3}\n'

    said = submit(http, 422, content=body, headers=JSONL)

    assert said["code"] == "invalid_rows"
    assert [field["field"] for field in said["fields"]] == ["2.width", "3.row", "4.steps"]
    assert "nearest 512 or 520" in said["fields"][0]["message"]
    assert "3 of 4 rows are bad, nothing was submitted" in said["message"]
    assert farm.batches() == []


def test_bad_rows_can_be_left_out(http: httpx2.Client, farm: Farm):
    made = submit(
        http, content="prompt,width\na,64\nb,65\n", headers={"Content-Type": "text/csv"}, params={"skip_bad": 1}
    )

    assert prompts_of(farm, made) == ["a"]
    assert made["skipped"][0]["row"] == 3


def test_an_idempotency_key_gives_the_same_batch_again(http: httpx2.Client, farm: Farm):
    key = {"Idempotency-Key": "order-4711"}

    first = http.post("/v1/batches", json={"prompts": ["a"]}, headers=key)
    second = http.post("/v1/batches", json={"prompts": ["a"]}, headers=key)

    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["batch"]["id"] == second.json()["batch"]["id"]
    assert second.json()["is_new"] is False
    assert len(farm.batches()) == 1


def test_a_key_that_is_being_submitted_is_a_conflict_to_try_again(http: httpx2.Client, farm: Farm):
    farm.store.begin_batch(name="", owner="local", priority=0, defaults={}, idempotency_key="k")

    response = http.post("/v1/batches", json={"prompts": ["a"]}, headers={"Idempotency-Key": "k"})

    assert (response.status_code, response.json()["code"]) == (409, "submit_in_progress")
    assert response.json()["retryable"] is True
    assert response.headers["retry-after"] == "1"


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        ({"prompts": ["a"], "nme": "x"}, "nme", "nothing that can be said here"),
        ({"prompts": ["a"], "defaults": {"nme": "x"}}, "nme", "no setting of a job"),
        ({"prompts": ["a"], "defaults": 4}, "defaults", "must be an object"),
        ({"prompts": "a"}, "prompts", "must be a list"),
        ({"prompts": [4]}, "1.row", "must be a text"),
        ({"jobs": ["a", None]}, "1.row", "must be an object"),
        ({"prompts": ["a"], "jobs": [{"prompt": "a"}]}, "jobs", "one list or the other"),
        ({"prompts": ["a"], "priority": 101}, "priority", "must be at most 100"),
        ({"prompts": ["a"], "repeat": 0}, "repeat", "must be at least 1"),
        ({"prompts": ["a"], "repeat": True}, "repeat", "whole number"),
        ({"prompts": ["a"], "defaults": {"model": "other"}}, "model", "this farm knows tiny"),
    ],
)
def test_what_does_not_fit_is_said_by_field(http: httpx2.Client, farm: Farm, body: Any, field: str, message: str):
    said = submit(http, 422, json=body)

    assert field in [f["field"] for f in said["fields"]]
    assert message in said["message"]
    assert farm.batches() == []


@pytest.mark.parametrize("body", ["", "nonsense", "[]", "4", '{"prompts": ["a"]', "[" * 100_000, "9" * 5000])
def test_a_body_that_is_no_json_object_is_said(http: httpx2.Client, body: str):
    said = submit(http, 422, content=body, headers={"Content-Type": "application/json"})

    assert said["message"].startswith(("the body is no JSON", "the body is no object"))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"prompts": ["\xe9"]}', "the body is no JSON (byte 15 is 0xe9, which is no UTF-8)"),
        (
            b'{"jobs": [{"seed": ' + b"9" * 5000 + b"}]}",
            "the body is no JSON (a number in it has thousands of digits at",
        ),
        (b'{"jobs": [' + b"[" * 100_000, "the body is no JSON (it is nested too deep at line 1)"),
        (b'{"prompts": ["a\tb"]}', "the body is no JSON (Invalid control character at line 1)"),
    ],
)
def test_why_a_body_is_no_json_is_said_in_our_words(http: httpx2.Client, body: bytes, said: str):
    refused = submit(http, 422, content=body, headers={"Content-Type": "application/json"})

    assert refused["message"].startswith(said)


@pytest.mark.parametrize("kind", [None, "application/xml", "multipart/mixed"])
def test_a_body_of_another_type_is_said(http: httpx2.Client, kind: str | None):
    said = submit(http, 415, content=b"a", headers={"Content-Type": kind} if kind else {})

    assert said["code"] == "unsupported_media_type"
    assert "must be one of application/json" in said["message"]


def test_a_form_without_the_file_or_that_is_none_is_said(http: httpx2.Client):
    broken = {"Content-Type": "multipart/form-data; boundary=x"}

    assert submit(http, 422, data={"name": "x"}, files={"other": b"a"})["fields"][0]["field"] == "file"
    assert submit(http, 422, content=b"--y\r\nnonsense", headers=broken)["code"] in (
        "unreadable_input",
        "invalid_request",
    )


HOSTILE = [
    "nul \0 here",
    "\ud800 half a pair",
    "‮right to left",
    "x" * 10_000,
    "<script>alert(1)</script>",
    "\r\nid: 7\r\n",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_becomes_a_job_or_a_clean_refusal_wherever_it_stands(http: httpx2.Client, text: str):
    bodies = [
        {"prompts": [text]},
        {"jobs": [{"prompt": "a", "negative_prompt": text}]},
        {"jobs": [{"prompt": "a", text: 4}]},
        {"prompts": ["a"], "name": text},
        {"prompts": ["a"], text: 4},
        {"prompts": ["a"], "defaults": {"model": text}},
    ]

    for body in bodies:
        sent = json.dumps(body).encode()
        response = http.post("/v1/batches", content=sent, headers={"Content-Type": "application/json"})
        assert response.status_code in (201, 422), response.text
        if response.status_code == 201:
            batch = response.json()["batch"]["id"]
            assert http.get(f"/v1/batches/{batch}/jobs").status_code == 200
            assert http.get(f"/v1/batches/{batch}/manifest").status_code == 200
    for kind in ("application/x-ndjson", "text/csv", "text/plain"):
        sent = b"prompt\n" + text.encode("utf-8", "surrogatepass")
        response = http.post("/v1/batches", content=sent, headers={"Content-Type": kind})
        assert response.status_code in (201, 422), response.text


def test_hostile_bytes_in_addresses_and_headers_are_refused_cleanly(http: httpx2.Client):
    for path in ("/v1/batches/%00", "/v1/jobs/%ff%fe", "/v1/batches/a%2Fb/jobs", "/v1/jobs/" + "x" * 5000):
        assert http.get(path).status_code == 404
    assert http.get("/v1/batches?q=%ed%a0%80&cursor=%00").status_code == 422
    assert http.get("/v1/batches?q=%ed%a0%80%00").status_code == 200
    key = {"Idempotency-Key": b"\xff\xfe"}
    assert http.post("/v1/batches", json={"prompts": ["a"]}, headers=key).status_code == 201


# -- limits


def test_a_body_above_the_limit_is_413_before_and_while_it_is_read(config: Config, hand: FarmHand):
    with HttpServer(config.replaced(max_body_bytes=1000), has_keeper=False) as server:
        said = httpx2.post(server.url + "/v1/batches", content=b"x" * 1001, headers={"Content-Type": "text/plain"})
        streamed = httpx2.post(
            server.url + "/v1/batches", content=(b"x" * 100 for _ in range(11)), headers={"Content-Type": "text/plain"}
        )

    for response in (said, streamed):
        assert (response.status_code, response.json()["code"]) == (413, "too_large")
        assert "SIGMAFARM_MAX_BODY_BYTES" in response.json()["message"]
    assert hand.farm.batches() == []


def test_a_request_that_is_no_submission_has_a_small_body(http: httpx2.Client):
    response = http.patch("/v1/batches/x", content=b"x" * (2 << 20), headers={"Content-Type": "application/json"})

    assert (response.status_code, response.json()["code"]) == (413, "too_large")


def test_more_rows_than_the_limit_are_413_and_nothing_stays(config: Config, hand: FarmHand, redis_client: redis.Redis):
    with HttpServer(config.replaced(max_rows=5), has_keeper=False) as server:
        rows = httpx2.post(server.url + "/v1/batches", json={"prompts": ["a"] * 6})
        repeats = httpx2.post(server.url + "/v1/batches", json={"prompts": ["a"], "repeat": 10**9})
        enough = httpx2.post(server.url + "/v1/batches", json={"prompts": ["a"] * 5})

    assert (rows.status_code, repeats.status_code, enough.status_code) == (413, 413, 201)
    assert "more than 5 jobs" in rows.json()["message"]
    assert len(hand.farm.batches()) == 1
    assert redis_client.zcard("sigmafarm:open") == 0


def test_an_owner_above_the_quota_is_told_to_come_back(config: Config, hand: FarmHand):
    with HttpServer(config.replaced(max_open_jobs=3), has_keeper=False) as server:
        first = httpx2.post(server.url + "/v1/batches", json={"prompts": ["a"] * 2})
        second = httpx2.post(server.url + "/v1/batches", json={"prompts": ["a"] * 2})
        hand.work_all()
        third = httpx2.post(server.url + "/v1/batches", json={"prompts": ["a"] * 2})

    assert (first.status_code, second.status_code, third.status_code) == (201, 429, 201)
    assert second.headers["retry-after"] == "30"
    assert "owner local has 2 open jobs, and may have 3" in second.json()["message"]


def test_submits_at_once_do_not_pass_the_quota_together(config: Config, farm: Farm, redis_client: redis.Redis):
    with HttpServer(config.replaced(max_open_jobs=100), has_keeper=False) as server:

        def send(n: int) -> httpx2.Response:
            body = {"prompts": [f"number {n}"], "repeat": 90}
            return httpx2.post(
                server.url + "/v1/batches", json=body, headers={"Idempotency-Key": f"k{n}"}, timeout=LIMIT_S
            )

        with ThreadPoolExecutor(8) as clients:
            answers = list(clients.map(send, range(8)))

    assert sorted(answer.status_code for answer in answers) == [201, *[429] * 7]
    assert all(answer.headers["retry-after"] == "30" for answer in answers if answer.status_code == 429)
    assert farm.store.open_jobs("local") == 90
    assert len(redis_client.keys("sigmafarm:idempotency:*")) == 1, "the keys of the refused are free again"
    assert len(redis_client.keys("sigmafarm:job:*:request")) == 90, "nothing of them is left"


def test_bytes_have_a_limit_beside_jobs(config: Config):
    with HttpServer(config.replaced(max_open_bytes=25_000), has_keeper=False) as server:
        url, long = server.url + "/v1/batches", "a long prompt " * 1000
        shared = httpx2.post(url, json={"prompts": [long], "repeat": 100})
        refused = httpx2.post(url, json={"prompts": [long + "again"]})

    assert (shared.status_code, refused.status_code, refused.headers["retry-after"]) == (201, 429, "30")
    assert "SIGMAFARM_MAX_OPEN_BYTES" in refused.json()["message"]


@pytest.mark.parametrize("path", ["/v1/batches/{batch}/retry", "/v1/jobs/{batch}-000000/retry"])
def test_retried_jobs_count_as_new_ones(config: Config, farm: Farm, path: str):
    batch = farm.submit(["a"] * 3)
    batch.cancel()
    farm.submit(["b"] * 3)
    with HttpServer(config.replaced(max_open_jobs=3), has_keeper=False) as server:
        answer = httpx2.post(server.url + path.format(batch=batch.id), params={"state": "cancelled"})

    assert answer.status_code == 429
    assert "has 3 open jobs, and may have 3" in answer.json()["message"]


def test_a_slow_client_holds_no_open_batch(server: HttpServer, redis_client: redis.Redis, farm: Farm):
    head = b"POST /v1/batches HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port)) as slow:
        slow.sendall(head + b"a\n")
        httpx2.get(server.url + "/healthz")  # the server has seen the first half by then
        assert redis_client.zcard("sigmafarm:open") == 0
        slow.sendall(b"b\n")
        assert slow.recv(100).startswith(b"HTTP/1.1 201")

    (batch,) = farm.batches()
    assert batch.counts.total == 2


def test_a_client_that_leaves_in_the_middle_leaves_nothing(server: HttpServer, farm: Farm):
    head = b"POST /v1/batches HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\nContent-Length: 400\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port)) as slow:
        slow.sendall(head + b"a\n")

    until(lambda: httpx2.get(server.url + "/healthz").status_code == 200, "it goes on")
    assert farm.batches() == []


def test_a_model_that_no_worker_could_load_is_refused_by_routes_form_and_openais_front(
    http: httpx2.Client, farm: Farm, hand: FarmHand
):
    farm.store.renew(hand.info.model_copy(update={"broken": {"bad": "its UNet holds no weights"}}), [])
    why = "model 'bad' cannot be loaded: worker hand: its UNet holds no weights; mend it, or choose tiny"

    for path in ("/v1/batches", "/v1/plan"):
        answer = http.post(path, json={"prompts": ["a"], "defaults": {"model": "bad"}})
        assert (answer.status_code, answer.json()["message"]) == (422, why)
    answer = http.post("/v1/images/generations", json={"prompt": "a", "model": "bad"})
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, why)
    page = http.get("/submit", headers={"Accept": "text/html"}).text
    token = re.search(r'name="csrf_token" value="([0-9a-f]+)"', page)
    assert token
    form = {"csrf_token": token[1], "prompts": "a", "model": "bad", "alternatives": "yes"}
    refused = html.unescape(http.post("/submit", data=form, headers={"Accept": "text/html"}).text)
    assert f'id="model-problem" dir="auto">{why}' in refused
    assert '<option value="bad" selected>bad (cannot be loaded)</option>' in refused
    assert farm.batches() == []
