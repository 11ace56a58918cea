"""A search over a batch, over all batches and on pages: found, told, sorted, bounded, and nobody else's."""

from __future__ import annotations

import httpx2
import pytest

from sigmafarm import Farm, FarmBatch
from sigmafarm.http.server import HttpServer
from sigmafarm.search import JobFilter, find_jobs, find_jobs_of_farm, looking
from sigmafarm_common.keys import Scope
from tests.farm_hand import FarmHand
from tests.http.conftest import add_key
from tests.limits import LIMIT_S

HTML = {"Accept": "text/html"}
#: A prompt that a thousand rows could share.
LONG = "a very long prompt that several rows repeat, with a zebra in it"


@pytest.fixture
def batch(farm: Farm, hand: FarmHand) -> FarmBatch:
    """Six jobs: two zebras and a fox are drawn, one failed, two wait."""
    hand.info = hand.info.model_copy(update={"slots": 4, "lookahead": 0})
    rows = [
        {"prompt": LONG, "seed": 7},
        {"prompt": LONG, "seed": 3, "steps": 60},
        {"prompt": "fail Überfox", "seed": 5},
        {"prompt": "a fox", "seed": 9, "sampler": "euler"},
        {"prompt": "a red zebra", "seed": 1},
        {"prompt": "an owl", "seed": 2},
    ]
    made = farm.submit([{("num_inference_steps" if k == "steps" else k): v for k, v in row.items()} for row in rows])
    hand.work()
    return made


@pytest.mark.parametrize(
    ("search", "rows", "words"),
    [
        ("zebra", [0, 1, 4], "3 jobs whose prompt holds 'zebra', 2 of them drawn"),
        ("zebra state:succeeded", [0, 1], "2 pictures with state succeeded whose prompt holds 'zebra'"),
        ("ZEBRA seed:7", [0], "1 picture with seed 7 whose prompt holds 'ZEBRA'"),
        ("steps:60", [1], "1 picture with steps 60"),
        ("üBERFOX", [2], "1 job whose prompt holds"),
        ("error:luck", [2], "1 job with error luck"),
        ("worker:hand fox", [2, 3], "2 jobs with worker hand whose prompt holds 'fox', 1 of them drawn"),
        ("sampler:euler", [3], "1 picture with sampler euler"),
        ("giraffe", [], "no prompt holds 'giraffe'"),
    ],
)
def test_a_batch_is_searched_and_says_how_many(
    http: httpx2.Client, batch: FarmBatch, search: str, rows: list[int], words: str
):
    said = http.get(f"/v1/batches/{batch.id}/jobs", params={"search": search}).json()
    same = http.get("/v1/jobs", params={"search": search}).json()

    assert [job["row"] for job in said["jobs"]] == [job["row"] for job in same["jobs"]] == rows
    assert words in said["found"]["words"]
    assert said["found"] == same["found"]
    assert said["found"]["num_seen"] > 0
    assert http.get(f"/v1/batches/{batch.id}/count", params={"search": search}).json()["num"] == len(rows)


def test_jobs_of_all_batches_come_a_page_at_a_time_newest_batch_first(
    http: httpx2.Client, farm: Farm, hand: FarmHand, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(looking, "READ_JOBS", 3)
    ids = [farm.submit([f"fox {n}" for n in range(4)]).id for _ in range(3)]
    found: list[str] = []
    cursor = {}

    while True:
        page = http.get("/v1/jobs", params={"search": "fox", "limit": 5, **cursor}).json()
        found += [job["id"] for job in page["jobs"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}

    assert len(found) == len(set(found)) == 12
    assert {job_id.partition("-")[0] for job_id in found} == set(ids)
    assert found[:4] == [f"{farm.batches()[0].id}-{row:06d}" for row in range(4)]
    assert http.get("/v1/jobs").json()["found"] is None, "without a search, a list"
    assert http.get("/v1/jobs?cursor=AAAA").status_code == 422


def test_a_search_sees_the_callers_own_batches_only(server: HttpServer, farm: Farm, hand: FarmHand):
    farm.submit(["a zebra"], owner="ann")
    farm.submit(["a zebra of ben's"], owner="ben")
    (_, ann), (_, root) = add_key(farm, "ann"), add_key(farm, "root", Scope.ADMIN)

    def found(key: dict[str, str], query: str) -> list[str]:
        with httpx2.Client(base_url=server.url, timeout=LIMIT_S, headers=key) as client:
            return [job["owner"] for job in client.get(f"/v1/jobs?search=zebra{query}").json()["jobs"]]

    assert found(ann, "") == ["ann"]
    assert found(ann, "&owner=ann") == ["ann"]
    assert sorted(found(root, "")) == ["ann", "ben"]
    assert found(root, "&owner=ben") == ["ben"]
    refused = httpx2.get(f"{server.url}/v1/jobs?search=zebra&owner=ben", headers=ann)
    assert (refused.status_code, refused.json()["code"]) == (403, "not_allowed")
    assert "owner is 'ben': only a key with scope admin" in refused.json()["message"]
    lists = [httpx2.get(f"{server.url}/v1/batches?owner={who}", headers=root).json() for who in ("ann", "ben", "eve")]
    assert [[each["owner"] for each in said["batches"]] for said in lists] == [["ann"], ["ben"], []]
    assert httpx2.get(f"{server.url}/v1/batches?owner=ben", headers=ann).status_code == 403


def test_a_search_that_cannot_be_read_says_what_there_is(http: httpx2.Client, batch: FarmBatch):
    refused = http.get(f"/v1/batches/{batch.id}/jobs?search=sede:7")
    page = http.get(f"/batches/{batch.id}?q=sede:7", headers=HTML)

    assert (refused.status_code, refused.json()["fields"][0]["field"]) == (422, "search")
    assert page.status_code == 200, "a page shows it beside the form, not in its place"
    assert "nothing is called &#39;sede&#39;: there are state:, worker:, error:" in page.text
    assert "No job matches" in page.text


def test_pages_say_how_many_and_link_to_the_next(http: httpx2.Client, batch: FarmBatch):
    page = http.get(f"/batches/{batch.id}?q=zebra", headers=HTML).text
    nothing = http.get(f"/batches/{batch.id}?q=giraffe", headers=HTML).text
    everywhere = http.get("/jobs?q=zebra", headers=HTML).text
    wrong = http.get("/jobs?q=sede:7", headers=HTML).text

    assert "3 jobs whose prompt holds &#39;zebra&#39;, 2 of them drawn" in page
    assert "no prompt holds &#39;giraffe&#39;" in nothing
    assert "3 jobs whose prompt holds &#39;zebra&#39;" in everywhere
    assert f'id="job-{batch.id}-000004"' in everywhere
    assert "nothing is called" in wrong
    assert 'href="/jobs"' in http.get("/batches", headers=HTML).text


def sorted_rows(http: httpx2.Client, batch: FarmBatch, **query: str) -> list[int]:
    return [job["row"] for job in http.get(f"/v1/batches/{batch.id}/jobs", params=query).json()["jobs"]]


def test_the_table_sorts_and_keeps_its_order_page_by_page(http: httpx2.Client, batch: FarmBatch):
    path = f"/v1/batches/{batch.id}/jobs"
    rows: list[int] = []
    cursor = {}
    while True:
        page = http.get(path, params={"sort": "-seed", "limit": 2, **cursor}).json()
        rows += [job["row"] for job in page["jobs"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}

    table = http.get(f"/batches/{batch.id}?view=table&sort=-seed", headers=HTML).text

    assert rows == [3, 0, 2, 1, 5, 4]
    assert [job["row"] for job in http.get(path, params={"sort": "-took"}).json()["jobs"]][4:] == [4, 5]
    assert [job["row"] for job in http.get(path, params={"sort": "seed", "search": "zebra"}).json()["jobs"]] == [
        4,
        1,
        0,
    ]
    assert table.index('id="j3"') < table.index('id="j0"') < table.index('id="j4"')
    assert f'aria-sort="descending"><a class="sort" href="/batches/{batch.id}?view=table&amp;sort=seed">Seed' in table
    assert f'href="/batches/{batch.id}?view=table&amp;sort=took">Time' in table


def test_more_jobs_than_can_be_sorted_are_refused_with_the_cure(
    http: httpx2.Client, batch: FarmBatch, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(looking, "MAX_JOBS", 5)
    path = f"/v1/batches/{batch.id}/jobs"

    refused = http.get(path + "?sort=seed")

    assert refused.status_code == 422
    assert "6 jobs are too many, 5 can be sorted; name a state" in refused.json()["message"]
    assert http.get(path + "?sort=seed&state=succeeded").status_code == 200


def test_a_bounded_search_says_how_far_it_looked(farm: Farm, batch: FarmBatch, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(looking, "MAX_JOBS", 2)
    monkeypatch.setattr(looking, "READ_JOBS", 2)
    wanted = JobFilter(search="owl")

    bounded, whole = (
        find_jobs(farm.store, batch.record, wanted),
        find_jobs_of_farm(farm.store, wanted, is_bounded=False),
    )

    assert (bounded.num, bounded.num_seen, bounded.is_complete) == (0, 2, False)
    assert (whole.num, whole.num_seen, whole.is_complete) == (1, 6, True)


def test_a_search_reads_a_little_of_each_job_and_no_more(http: httpx2.Client, farm: Farm, hand: FarmHand):
    """A thousand jobs at once: a look at ten thousand is a few dozen commands."""
    batch = farm.submit([f"picture {n}" for n in range(1500)])
    client = farm.store.client  # type: ignore[attr-defined] - RedisStore's
    before = client.info("stats")["total_commands_processed"]

    found = find_jobs(farm.store, batch.record, JobFilter(search="picture"))

    assert found.num == 1500
    assert client.info("stats")["total_commands_processed"] - before < 10
