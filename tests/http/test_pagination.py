"""Lists and single things: filters, order, cursors, bounds, tags; and what they cost in Redis commands."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
import redis

from sigmafarm import Farm, FarmBatch
from sigmafarm.http import pagination as pages
from sigmafarm.search import looking
from sigmafarm_common.store.ids import TIME_CHARS, new_batch_id
from tests.farm_hand import FarmHand
from tests.limits import until


@pytest.fixture
def mixed(farm: Farm, hand: FarmHand) -> FarmBatch:
    """30 jobs: rows 0 to 9 drawn, but for 3 and 7, which failed; 20 cancelled; the rest queued."""
    rows = [f"{'fail ' if n in (3, 7) else ''}picture {n} {'Red' if n % 2 else 'blue'}" for n in range(30)]
    hand.info = hand.info.model_copy(update={"slots": 10, "lookahead": 0})
    batch = farm.submit(rows, name="mixed")
    hand.work()
    farm.store.cancel_job(f"{batch.id}-000020")
    return batch


def rows_of(http: httpx2.Client, batch: FarmBatch, query: str) -> list[int]:
    """The rows of every page, one after the other."""
    rows: list[int] = []
    cursor = ""
    while True:
        page = http.get(f"/v1/batches/{batch.id}/jobs?{query}{cursor}")
        assert page.status_code == 200, page.text
        rows += [job["row"] for job in page.json()["jobs"]]
        if page.json()["next"] is None:
            return rows
        cursor = f"&cursor={page.json()['next']}"


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("limit=7", list(range(30))),
        ("limit=30", list(range(30))),
        ("limit=7&sort=-row", list(range(29, -1, -1))),
        ("state=failed", [3, 7]),
        ("state=failed&state=cancelled&limit=2", [3, 7, 20]),
        ("state=failed&sort=-row&limit=1", [7, 3]),
        ("state=succeeded&state=failed&sort=-row&limit=4", list(range(9, -1, -1))),
        ("error_code=render_failed", [3, 7]),
        ("error_code=other", []),
        ("q=RED&limit=4", list(range(1, 30, 2))),
        ("q=%22picture%201%22&state=queued&limit=3", list(range(10, 20))),
        ("model=tiny&limit=9", list(range(30))),
        ("model=other", []),
    ],
)
def test_jobs_by_filter_and_order_a_page_at_a_time(http: httpx2.Client, mixed: FarmBatch, query: str, rows: list[int]):
    assert rows_of(http, mixed, query) == rows


def test_a_page_that_finds_little_ends_after_a_bounded_look(
    http: httpx2.Client, mixed: FarmBatch, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pages, "MAX_JOBS", 10)
    monkeypatch.setattr(looking, "READ_JOBS", 5)
    monkeypatch.setattr(looking, "MAX_SPAN_ROWS", 5)

    first = http.get(f"/v1/batches/{mixed.id}/jobs?q=%22picture%2025%22").json()

    assert first["jobs"] == []
    assert first["next"] is not None
    assert rows_of(http, mixed, "q=%22picture%2025%22") == [25]
    assert rows_of(http, mixed, "q=%22picture%2025%22&sort=-row") == [25]


@pytest.mark.parametrize("cursor", ["x", "!!", "AAAA", "LTE", "%F0%9F%92%A9"])
def test_a_cursor_that_is_none_is_said(http: httpx2.Client, mixed: FarmBatch, cursor: str):
    response = http.get(f"/v1/batches/{mixed.id}/jobs?cursor={cursor}")

    assert response.status_code == 422
    assert response.json()["fields"][0]["field"] == "cursor"
    assert "must be `next` of the page before" in response.json()["message"]


@pytest.mark.parametrize(
    ("query", "field"), [("limit=0", "limit"), ("limit=x", "limit"), ("state=done", "state"), ("sort=prompt", "sort")]
)
def test_a_bad_query_is_said_by_field(http: httpx2.Client, mixed: FarmBatch, query: str, field: str):
    response = http.get(f"/v1/batches/{mixed.id}/jobs?{query}")

    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")
    assert response.json()["fields"][0]["field"].startswith(field)


@pytest.mark.parametrize(
    ("query", "num"),
    [("", 30), ("state=failed", 2), ("state=failed&state=queued", 21), ("error_code=render_failed", 2), ("q=red", 15)],
)
def test_jobs_are_counted_by_the_same_filters(http: httpx2.Client, mixed: FarmBatch, query: str, num: int):
    assert http.get(f"/v1/batches/{mixed.id}/count?{query}").json() == {"num": num, "is_complete": True}


def test_failures_by_reason(http: httpx2.Client, mixed: FarmBatch):
    assert http.get(f"/v1/batches/{mixed.id}/failures").json() == {"render_failed": 2}


def test_batches_newest_first_by_page_status_and_name(http: httpx2.Client, farm: Farm, hand: FarmHand):
    def submit(name: str) -> str:
        batch_id = farm.submit(["a"], name=name).id
        until(lambda: new_batch_id()[:TIME_CHARS] > batch_id, "the millisecond is over: within one there is no order")
        return batch_id

    ids = [submit(f"batch {n}") for n in range(5)]
    hand.work_all()
    open_one, paused = submit("open"), submit("waits")
    farm.store.pause_batch(paused)

    def listed(query: str) -> list[str]:
        found: list[str] = []
        cursor = ""
        while True:
            page = http.get(f"/v1/batches?{query}{cursor}").json()
            found += [batch["id"] for batch in page["batches"]]
            if page["next"] is None:
                return found
            cursor = f"&cursor={page['next']}"

    assert listed("limit=2") == [paused, open_one, *reversed(ids)]
    assert listed("status=done&limit=3") == list(reversed(ids))
    assert listed("status=active") == [open_one]
    assert listed("status=paused") == [paused]
    assert listed("q=BATCH%203") == [ids[3]]
    assert listed(f"q={open_one}") == [open_one]


def test_a_job_as_the_command_line_shows_it(http: httpx2.Client, mixed: FarmBatch, farm: Farm):
    from sigmafarm.shapes import job_json

    job = next(mixed.jobs(state="failed"))

    assert http.get(f"/v1/jobs/{job.id}").json() == job_json(job)
    assert http.get(f"/v1/jobs/{mixed.id}-000099").status_code == 404


# -- tags


def commands(client: redis.Redis) -> int:
    info: Any = client.info("stats")
    return info["total_commands_processed"]


def cost_of(client: redis.Redis, http: httpx2.Client, path: str, tag: str | None = None) -> tuple[httpx2.Response, int]:
    """One request, and how many commands of Redis it took."""
    before = commands(client)
    response = http.get(path, headers={"If-None-Match": tag} if tag else {})
    return response, commands(client) - before - 1  # asking is one itself


@pytest.fixture
def quiet(http: httpx2.Client, redis_client: redis.Redis) -> httpx2.Client:
    """A client of a server whose reader of events waits, so that it does not count."""
    http.get("/v1/models")
    return http


def least_cost(client: redis.Redis, http: httpx2.Client, path: str, tag: str) -> tuple[int, int]:
    """The status and the fewest commands of several tries: the feed's own read may fall into one of them."""
    tries = [cost_of(client, http, path, tag) for _ in range(5)]
    return tries[0][0].status_code, min(cost for _, cost in tries)


@pytest.mark.parametrize("path", ["/v1/batches/{id}", "/v1/batches/{id}/jobs?limit=20", "/v1/batches?limit=5"])
def test_an_unchanged_answer_is_a_304_and_costs_one_command(
    quiet: httpx2.Client, redis_client: redis.Redis, mixed: FarmBatch, path: str
):
    path = path.format(id=mixed.id)
    tag = quiet.get(path).headers["etag"]

    status, cost = least_cost(redis_client, quiet, path, tag)

    assert status == 304
    assert cost <= 1


def test_a_change_of_a_job_changes_every_tag(http: httpx2.Client, mixed: FarmBatch, hand: FarmHand):
    paths = [f"/v1/batches/{mixed.id}", f"/v1/batches/{mixed.id}/jobs", "/v1/batches"]
    tags = {path: http.get(path).headers["etag"] for path in paths}

    hand.work()

    assert all(http.get(path, headers={"If-None-Match": tags[path]}).status_code == 200 for path in paths)


def test_a_batch_costs_the_same_however_large_it_is(
    quiet: httpx2.Client, redis_client: redis.Redis, farm: Farm, hand: FarmHand
):
    small, large = farm.submit(["a"] * 2).id, farm.submit(["a"] * 2000).id
    path = "/v1/batches/{}"

    costs = [min(cost_of(redis_client, quiet, path.format(i))[1] for _ in range(5)) for i in (small, large)]

    assert costs[0] == costs[1] <= 1


def test_tags_of_other_queries_do_not_mix(http: httpx2.Client, mixed: FarmBatch):
    path = f"/v1/batches/{mixed.id}/jobs"
    tag = http.get(path + "?state=failed").headers["etag"]

    assert http.get(path + "?state=queued", headers={"If-None-Match": tag}).status_code == 200
    assert http.get(path + "?state=failed", headers={"If-None-Match": f'"x", {tag}'}).status_code == 304
