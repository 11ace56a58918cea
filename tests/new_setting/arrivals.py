"""Where the settings of more_settings.py must arrive: one test for each surface. test_new_setting.py runs this file in
a process that has them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import openai
import pytest

from sigmafarm import Farm, RenderRequest
from sigmafarm.http.server import HttpServer
from sigmafarm_common import settings
from sigmafarm_common.adoption import adopted_jobs, remains_of
from sigmafarm_common.errors import InvalidRequest
from sigmafarm_common.manifest import manifest_line
from sigmafarm_common.models_file import read_models_file
from sigmafarm_common.objects.folder import FolderStore
from sigmafarm_common.picture_text import read_parameters, read_text, write_text
from sigmafarm_worker.service.images import encode
from tests.command_line import Run, runner
from tests.farm_hand import Drawer, FarmHand
from tests.http.conftest import config, farm, hand, http, server

__all__ = ["config", "farm", "hand", "http", "server"]

NEW = {"softness": 0.25, "seamless": True, "mood": "wild", "window": [0.2, 5.0]}
AS_TEXT = {"softness": "0.25", "seamless": "true", "mood": "wild", "window": "0.2-5"}
WORDS = {"Softness: 0.25", "Seamless: true", "Mood: wild", "Window: 0.2-5"}
NAMED = [("Softness", "0.25 sigma"), ("Seamless", "yes"), ("Mood", "wild"), ("Window", "0.2-5")]
HTML = {"Accept": "text/html"}


def new_of(request: RenderRequest) -> dict[str, Any]:
    return {name: value for name, value in request.said().items() if name in NEW}


def newest_of(farm: Farm) -> RenderRequest:
    (batch, *_) = farm.batches()
    return farm.job(f"{batch.id}-000000").request


@pytest.fixture
def run(
    farm: Farm, hand: FarmHand, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Run:
    monkeypatch.chdir(tmp_path)
    return runner(farm, monkeypatch, capsys)


@pytest.fixture
def drawer(hand: FarmHand) -> Iterator[Drawer]:
    with Drawer(hand) as drawer:
        yield drawer


def test_python(farm: Farm, hand: FarmHand):
    farm.submit([{"prompt": "a", "softness": 0.25, "seamless": True}], defaults={"mood": "wild", "window": (0.2, 5)})

    assert new_of(newest_of(farm)) == NEW
    (claim,) = hand.claim()
    assert new_of(claim.request) == NEW
    assert json.loads(manifest_line(farm.job(claim.job_id), ""))["settings"].items() >= NEW.items()


def test_what_does_not_fit_is_refused_with_value_and_cure():
    with pytest.raises(InvalidRequest) as caught:
        RenderRequest.parse({"prompt": "a", "softness": 3, "seamless": "perhaps", "mood": "sad", "window": "wide"})

    assert [field.message for field in caught.value.fields] == [
        "softness is 3: must be at most 2",
        "seamless is 'perhaps': must be true or false",
        "mood is 'sad': must be 'calm' or 'wild'",
        "window is 'wide': must be two numbers, such as 0.2-5",
    ]


def test_farm_defaults_and_those_of_a_model(tmp_path: Path):
    (tmp_path / "models.toml").write_text('[models.a]\npath = "p"\ndefaults = { mood = "wild", window = [0.2, 5] }')
    card = read_models_file(tmp_path / "models.toml")["a"].card()

    assert card.defaults == {"mood": "wild", "window": [0.2, 5.0]}
    assert new_of(RenderRequest(prompt="a").resolved(card.defaults)) == {
        "softness": 1.0,
        "mood": "wild",
        "window": [0.2, 5.0],
    }


def test_flags(run: Run, farm: Farm):
    ran = run("submit", "-p", "a", "--soft", "0.25", "--seamless", "--mood", "wild", "--window", "0.2,5.0")

    assert ran.code == 0
    assert new_of(newest_of(farm)) == NEW
    assert run("submit", "-p", "a", "--softness", "0.5", "--no-seamless").code == 0
    assert (newest_of(farm).said()["softness"], newest_of(farm).said()["seamless"]) == (0.5, False)
    shown = re.sub(r"\s+", " ", re.sub("[│╭╮╰╯─]", " ", run("submit", "--help").out))
    assert "--softness, --soft <float> How soft edges are (0 to 2)" in shown
    assert "Of the picture (calm, wild)" in shown
    assert "--soft is 9.0: must be at most 2" in run("submit", "-p", "a", "--soft", "9").err


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.csv", "prompt,softness,seamless,mood,window\na,0.25,true,wild,0.2-5\n"),
        ("p.csv", 'prompt,softness,seamless,mood,window\na,0.25,1,wild,"0.2,5"\n'),
        ("p.jsonl", json.dumps({"prompt": "a", **NEW})),
    ],
)
def test_prompt_files(run: Run, farm: Farm, tmp_path: Path, name: str, content: str):
    (tmp_path / name).write_text(content)

    assert run("submit", name).code == 0
    assert new_of(newest_of(farm)) == NEW


def test_a_column_that_is_written_wrong(run: Run, tmp_path: Path):
    (tmp_path / "p.csv").write_text("prompt,softnes\na,1\n")

    assert "did you mean softness?" in run("submit", "p.csv").err


def test_the_programs_answers(run: Run, farm: Farm):
    batch = farm.submit(["a"], defaults=NEW)

    assert run("status", f"{batch.id}-000000", "--json").json["request"].items() >= NEW.items()
    assert "softness=0.25" in run("status", batch.id).out


@pytest.mark.parametrize(
    ("query", "sent"),
    [
        ({}, {"json": {"jobs": [{"prompt": "a", **NEW}]}}),
        ({}, {"json": {"prompts": ["a"], "defaults": NEW}}),
        (AS_TEXT, {"content": b"a", "headers": {"Content-Type": "text/plain"}}),
        ({}, {"data": AS_TEXT, "files": {"file": ("p.txt", b"a")}}),
    ],
    ids=["jobs", "defaults", "query", "form"],
)
def test_bodies_of_the_api(
    http: httpx2.Client, farm: Farm, hand: FarmHand, query: dict[str, str], sent: dict[str, Any]
):
    answer = http.post("/v1/batches", params=query, **sent)

    assert answer.status_code == 201, answer.text
    assert new_of(newest_of(farm)) == NEW
    job = http.get(f"/v1/jobs/{answer.json()['batch']['id']}-000000").json()
    assert job["request"].items() >= NEW.items()


def test_openapi(http: httpx2.Client):
    said = http.get("/openapi.json").json()

    shape = said["components"]["schemas"]["Settings"]["properties"]
    assert (shape["softness"]["title"], shape["softness"]["description"]) == ("Softness", "How soft edges are.")
    assert shape["softness"]["anyOf"][0] == {"type": "number", "minimum": 0, "maximum": 2}
    query = {each["name"]: each for each in said["paths"]["/v1/batches"]["post"]["parameters"]}
    assert query["window"]["description"] == "Noise levels at which it counts."
    assert NEW.keys() <= query.keys()


@pytest.mark.usefixtures("drawer")
def test_openais_clients(server: HttpServer, farm: Farm):
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none")
    body = {"soft": 0.25, "seamless": True, "mood": "wild", "window": "0.2-5"}

    client.images.generate(prompt="a", extra_body=body)

    assert new_of(newest_of(farm)) == NEW
    with pytest.raises(openai.BadRequestError, match="softness is 3: must be at most 2"):
        client.images.generate(prompt="a", extra_body={"softness": 3})


@pytest.mark.usefixtures("drawer")
def test_automatic1111s_clients(http: httpx2.Client, farm: Farm):
    new = {"softness_strength": 0.25, "seamless": True, "mood": "wild", "window": [0.2, 5]}
    said = {"prompt": "a", "prompt_syntax": "plain", **new}

    info = json.loads(http.post("/sdapi/v1/txt2img", json=said).json()["info"])

    assert new_of(newest_of(farm)) == NEW
    assert set(info["infotexts"][0].split("\n")[-1].split(", ")) >= WORDS
    assert {f"{name}: {value}" for name, value in info["extra_generation_params"].items()} == WORDS


def test_the_form_of_the_dashboard(http: httpx2.Client, farm: Farm, hand: FarmHand):
    page = http.get("/submit", headers=HTML).text
    inputs = re.findall(r'<(input|select) id="(softness|seamless|mood|window)"', page)
    token = re.findall(r'name="csrf_token" value="([0-9a-f]+)"', page)[0]

    sent = http.post("/submit", data={"csrf_token": token, "prompts": "a", **AS_TEXT}, headers=HTML)
    refused = http.post("/submit", data={"csrf_token": token, "prompts": "a", "softness": "3"}, headers=HTML)

    assert inputs == [("input", "softness"), ("select", "seamless"), ("select", "mood"), ("input", "window")]
    assert sent.status_code == 303, sent.text
    assert new_of(newest_of(farm)) == NEW
    assert 'id="softness-problem" dir="auto">Softness is &#39;3&#39;: must be at most 2' in refused.text


def test_pages_of_the_dashboard(http: httpx2.Client, farm: Farm, hand: FarmHand):
    batch = farm.submit(["a"], defaults=NEW)

    job = http.get(f"/jobs/{batch.id}-000000", headers=HTML).text
    again = http.get("/submit", params={"job": f"{batch.id}-000000"}, headers=HTML).text
    line = http.get(f"/batches/{batch.id}", headers=HTML).text

    for name, value in NAMED:
        assert f"<dt>{name}</dt><dd><bdi>{value}</bdi></dd>" in job
        assert f"{name} <bdi>{value}</bdi>" in line
    assert re.search(r'<input id="softness"[^>]* value="0.25"', again)
    assert re.search(r'<input id="window"[^>]* value="0.2-5"', again)
    assert re.search(r'<select id="mood".*?value="wild" selected', again)
    assert re.search(r'<select id="seamless".*?value="true" selected', again)


@pytest.mark.parametrize("form", ["png", "jpeg", "webp"])
def test_the_pictures_own_text(form: str, tmp_path: Path):
    request = RenderRequest.parse({"prompt": "a", "model": "m", **NEW}).resolved({"width": 64, "height": 64})
    file = encode(np.zeros((64, 64, 3), np.uint8), form, request, "m")
    objects = FolderStore(tmp_path)
    objects.put("06f2v3k9qabcdef/000000-f1-9c0b41de.png", file, "image/png")

    found = read_parameters(file)
    (adopted,) = adopted_jobs(objects, remains_of(objects, "06f2v3k9qabcdef"))

    assert set(found.parameters.split("\n")[-1].split(", ")) >= WORDS
    assert found.settings.items() >= NEW.items()
    assert new_of(RenderRequest.parse(read_text(found.parameters))) == NEW
    assert adopted.request == request


def test_what_is_as_ever_is_not_in_the_text():
    text = write_text(RenderRequest(prompt="a").resolved({"width": 64, "height": 64}).said())

    assert not [word for word in ("Softness", "Seamless", "Mood", "Window") if word in text]


def test_the_readmes_table():
    table = settings.job_settings_table()

    assert (
        "| `softness` | `--softness`, `--soft` | number 0 to 2 | 1 | `softness_strength` | How soft edges are. |"
        in table
    )
    assert "| `mood` | `--mood` | one of calm, wild | calm | `mood` | Of the picture. |" in table
    assert "| `window` | `--window` | two numbers |" in table
