"""A job's warnings stand wherever people and programs look at it, and are counted on its batch."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx2
import openai
import pytest

from sigmafarm import Farm
from sigmafarm.http.server import HttpServer
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

    assert '<span class="reason-num is-warning">2</span><div>Prompt cut</div>' in page
    assert table.count("Prompt cut: <bdi>2 tokens of the prompt &lt;do&gt; not fit</bdi>") == 2
    assert '<b>Prompt cut</b><p dir="auto">2 tokens of the prompt &lt;do&gt; not fit</p>' in job
    assert "is-warning" not in http.get(f"/jobs/{batch_id}-000001", headers=HTML).text


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
