"""A job's warnings stand wherever people and programs look at it, and are counted on its batch."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx2
import openai
import pytest

from sigmafarm import Farm
from sigmafarm.http import pagination
from sigmafarm.http.server import HttpServer
from sigmafarm.search import looking
from tests.farm_hand import WARNING, Drawer, FarmHand

HTML = {"Accept": "text/html"}
TOLD = WARNING.model_dump()


@pytest.fixture
def drawer(hand: FarmHand) -> Iterator[Drawer]:
    with Drawer(hand) as drawer:
        yield drawer


@pytest.fixture
def batch_id(farm: Farm, hand: FarmHand) -> str:
    """A drawn batch of three jobs, two of them with a warning."""
    batch = farm.submit(["warn a", "b", "warn c"])
    hand.work_all()
    return batch.id


def test_the_api_tells_them_of_job_batch_and_event(http: httpx2.Client, farm: Farm, batch_id: str) -> None:
    jobs = http.get(f"/v1/batches/{batch_id}/jobs").json()["jobs"]

    assert [job["warnings"] for job in jobs] == [[TOLD], [], [TOLD]]
    assert http.get(f"/v1/jobs/{batch_id}-000000").json()["warnings"] == [TOLD]
    assert http.get(f"/v1/batches/{batch_id}").json()["warnings"] == {"prompt_cut": 2}
    told = [e.data for e in farm.store.events(after="0") if e.kind == "job.succeeded"]
    assert told == [{"warnings": "prompt_cut"}, {}, {"warnings": "prompt_cut"}]


def test_the_pages_of_batch_and_job_tell_them(http: httpx2.Client, batch_id: str) -> None:
    page = http.get(f"/batches/{batch_id}", headers=HTML).text
    table = http.get(f"/batches/{batch_id}?view=table", headers=HTML).text
    job = http.get(f"/jobs/{batch_id}-000000", headers=HTML).text

    assert '<span class="reason-num is-warning">2</span><div><a href="' in page
    assert f"/batches/{batch_id}?warning=prompt_cut" in page
    assert table.count("Prompt cut: <bdi>2 tokens of the prompt &lt;do&gt; not fit</bdi>") == 2
    assert '<b>Prompt cut</b><p dir="auto">2 tokens of the prompt &lt;do&gt; not fit</p>' in job
    assert "is-warning" not in http.get(f"/jobs/{batch_id}-000001", headers=HTML).text


def test_jobs_are_found_and_counted_by_a_warning_that_they_carry(http: httpx2.Client, batch_id: str) -> None:
    def found(query: str) -> list[int]:
        return [job["row"] for job in http.get(f"/v1/batches/{batch_id}/jobs?{query}").json()["jobs"]]

    def counted(query: str) -> int:
        return http.get(f"/v1/batches/{batch_id}/count?{query}").json()["num"]

    assert found("warning=prompt_cut") == [0, 2]
    assert found("warning=prompt_cut&sort=-row&q=c") == [2]
    assert (found("warning=other"), found("warning=prompt_cut&state=failed")) == ([], [])
    assert (counted("warning=prompt_cut"), counted("warning=prompt_cut&q=c"), counted("warning=other")) == (2, 1, 0)
    assert http.get(f"/v1/batches/{batch_id}/jobs?warning={'x' * 41}").status_code == 422
    assert http.post(f"/v1/batches/{batch_id}/retry?warning=prompt_cut").json()["num_changed"] == 0


def test_a_search_for_a_warning_that_nobody_carries_ends_after_a_bounded_look(
    http: httpx2.Client, batch_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pagination, "MAX_JOBS", 2)
    monkeypatch.setattr(looking, "READ_JOBS", 1)
    monkeypatch.setattr(looking, "MAX_SPAN_ROWS", 1)

    page = http.get(f"/v1/batches/{batch_id}/jobs?warning=other").json()

    assert page["jobs"] == []
    assert page["next"] is not None


def test_the_page_narrows_its_table_to_a_warning(http: httpx2.Client, batch_id: str) -> None:
    page = http.get(f"/batches/{batch_id}?view=table&warning=prompt_cut", headers=HTML).text

    assert f'href="/jobs/{batch_id}-000000"' in page
    assert f'href="/jobs/{batch_id}-000001"' not in page
    assert f'href="/batches/{batch_id}?warning=prompt_cut&amp;view=table" aria-current="true">Prompt cut' in page
    assert f'href="/batches/{batch_id}?state=failed&amp;view=table"' in page, "a state is another filter"
    assert '<input type="hidden" name="warning" value="prompt_cut">' in page


def test_openais_pictures_carry_them(server: HttpServer, drawer: Drawer) -> None:
    with openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0) as client:
        warned = client.images.generate(prompt="warn a", extra_body={"seed": 1})
        plain = client.images.generate(prompt="b", extra_body={"seed": 1})
        stream = list(client.images.generate(prompt="warn a", stream=True))

    assert [image.model_extra for image in warned.data or []] == [{"seed": 1, "warnings": [TOLD]}]
    assert [image.model_extra for image in plain.data or []] == [{"seed": 1}]
    assert (stream[-1].model_extra or {})["warnings"] == [TOLD]


def test_automatic1111s_info_has_them_among_its_notes(http: httpx2.Client, drawer: Drawer) -> None:
    answer = http.post("/sdapi/v1/txt2img", json={"prompt": "warn a", "batch_size": 2}).json()

    assert json.loads(answer["info"])["extra_generation_params"]["Notes"] == WARNING.text
