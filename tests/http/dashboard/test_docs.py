"""The reference of the API: whole, under our policy, open to all as its description is; its commands are run."""

from __future__ import annotations

import html
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import httpx2
import pytest
from PIL import Image

from sigmafarm import Farm
from sigmafarm.http.dashboard.views.api import api_view
from sigmafarm.http.dashboard.views.api_commands import command_of
from sigmafarm.http.dashboard.views.api_kinds import Kinds
from sigmafarm.http.server import HttpServer
from sigmafarm_common.config import Config
from tests.farm_hand import FarmHand
from tests.http.conftest import add_key
from tests.limits import LIMIT_S

#: Commands whose thing is not there: nothing is drawn just now, and the id of a picture is made up.
NOT_THERE = ("get_preview", "get_upload", "get_upload_file")
#: A job that succeeded stays so.
REFUSED = ("retry_job",)
HTML = {"Accept": "text/html"}


def commands_on(page: str) -> list[str]:
    return [html.unescape(said) for said in re.findall(r'data-copy="([^"]+)"', page)]


def test_the_page_tells_every_route_and_shape_without_code_of_its_own(http: httpx2.Client, server: HttpServer):
    answer = http.get("/docs", headers=HTML)
    described = server.app.openapi()

    page = answer.text
    for methods in described["paths"].values():
        for said in methods.values():
            assert f'id="{said["operationId"]}"' in page
    for link in set(re.findall(r'href="#([^"]+)"', page)) - {"main"}:
        assert f'id="{link}"' in page or link.startswith("i-"), link
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert not re.search(
        r"<script(?![^>]*src=)|<style| style=| onclick=|https?://(?!127\.0\.0\.1)[^\"]+\.(js|css)", page
    )
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids)) + page.count('id="i-') - len(set(re.findall(r'id="(i-[^"]+)"', page)))


def test_every_command_works_as_it_stands(http: httpx2.Client, farm: Farm, hand: FarmHand, tmp_path: Path):
    if shutil.which("curl") is None:
        pytest.skip("no curl on the PATH")
    farm.submit(["a boat", "fail b"], name="first")
    hand.work_all()
    Image.new("RGB", (64, 64)).save(tmp_path / "picture.png")
    api = api_view(http.get("/openapi.json").json())
    routes = [route for group in api.groups for route in group.routes]

    commands = commands_on(http.get("/docs", headers=HTML).text)

    assert len(commands) == len(routes)
    for route, command in zip(routes, commands, strict=True):
        if route.is_stream:
            assert first_line_of(command, tmp_path).startswith(b":"), command
            continue
        wanted = "404" if route.id in NOT_THERE else "409" if route.id in REFUSED else "20"
        assert status_of(command, tmp_path).startswith(wanted), command
    with Image.open(tmp_path / "picture.png") as picture:
        assert picture.size == (64, 64)


def test_strangers_read_it_where_keys_are_in_force_and_see_no_ids(farm: Farm, hand: FarmHand, config: Config):
    batch = farm.submit(["a"], owner="ann")
    _, own = add_key(farm, "ann")
    _, other = add_key(farm, "bob")
    with (
        HttpServer(config, has_keeper=False) as server,
        httpx2.Client(base_url=server.url, timeout=LIMIT_S) as client,
    ):
        pages = {who: client.get("/docs", headers={**HTML, **how}) for who, how in (("", {}), ("a", own), ("b", other))}

    assert {each.status_code for each in pages.values()} == {200}
    assert [who for who, page in pages.items() if batch.id in page.text] == ["a"]
    commands = commands_on(pages[""].text)
    assert all(("SIGMAFARM_KEY" in each) is (not each.endswith(("/healthz", "/readyz"))) for each in commands)
    assert "/sign-in?next=/docs" in pages[""].text
    assert 'aria-label="Pages"' not in pages[""].text


@pytest.mark.parametrize(
    ("schema", "words", "example"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 9}, "whole number 1 to 9", 1),
        ({"anyOf": [{"type": "string", "maxLength": 5}, {"type": "null"}]}, "text, 5 characters at most", "text"),
        ({"type": "array", "items": {"$ref": "#/components/schemas/Job"}}, "list of Job", []),
        ({"$ref": "#/components/schemas/State"}, "one of queued, running", "queued"),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, "object of whole number", {}),
        ({"type": "array", "prefixItems": [{"type": "number"}] * 2}, "list of number", []),
        ({"type": "number", "multipleOf": 8, "minimum": 64}, "number from 64, a multiple of 8", 1.0),
        ({"type": "string", "format": "binary"}, "file", "text"),
        ({"$ref": "#/components/schemas/Job"}, "Job", {"id": "x"}),
        ({}, "anything", None),
    ],
)
def test_schemas_are_said_in_words(schema: dict[str, object], words: str, example: object):
    job = {"type": "object", "properties": {"id": {"type": "string", "examples": ["x"]}}, "required": ["id"]}
    kinds = Kinds({"Job": job, "State": {"type": "string", "enum": ["queued", "running"]}})

    assert kinds.of(schema).text == words
    assert kinds.example_of(schema) == example


def test_a_command_quotes_what_the_shell_would_read(http: httpx2.Client):
    api = api_view(http.get("/openapi.json").json())
    (route,) = (route for group in api.groups for route in group.routes if route.id == "get_batch")

    command = command_of(route, "http://a.example:1", {"batch_id": "x; rm -r y"}, has_key=True)

    assert shlex.split(command)[2] == "http://a.example:1/v1/batches/x; rm -r y"
    assert shlex.split(command)[3:] == ["-H", "Authorization: Bearer $SIGMAFARM_KEY"]


def status_of(command: str, folder: Path) -> str:
    said = [*shlex.split(command), "-w", "\n%{http_code}"]
    done = subprocess.run(said, cwd=folder, capture_output=True, timeout=LIMIT_S)
    return done.stdout.decode("utf-8", "replace").rpartition("\n")[2]


def first_line_of(command: str, folder: Path) -> bytes:
    with subprocess.Popen(shlex.split(command), cwd=folder, stdout=subprocess.PIPE) as process:
        assert process.stdout
        line = process.stdout.readline()
        process.terminate()
    return line
