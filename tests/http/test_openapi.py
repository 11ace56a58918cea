"""The description of the API: complete, with errors and examples; and http/README.md beside it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx2
import pytest

from sigmafarm import Farm
from sigmafarm.http.openapi import OPEN_PATHS
from sigmafarm.http.routes_table import routes_table
from sigmafarm.http.server import HttpServer
from tests.farm_hand import FarmHand

HTTP = Path(__file__).parents[2] / "producer" / "sigmafarm" / "http"
README = (HTTP / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def described(http: httpx2.Client) -> dict[str, Any]:
    return http.get("/openapi.json").json()


def operations(described: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(path, method, said) for path, methods in described["paths"].items() for method, said in methods.items()]


def test_the_readmes_table_is_the_applications(server: HttpServer):
    written = README.split("<!-- routes -->\n")[1].split("<!-- /routes -->")[0]

    assert written.strip() == routes_table(server.app), "run `python -m sigmafarm.http.routes_table`"


@pytest.mark.parametrize("path", sorted(HTTP.glob("*.py")), ids=lambda path: path.name)
def test_every_file_is_documented(path: Path):
    assert path.name == "__init__.py" or f"`{path.name}`" in README


def test_every_operation_has_a_name_of_its_own_a_sentence_and_a_tag(described: dict[str, Any]):
    found = operations(described)
    names = [said["operationId"] for _, _, said in found]

    assert len(set(names)) == len(names)
    assert all("__" not in name for name in names), "made by FastAPI: name it"
    assert all(said["description"].endswith(".") and said["tags"] for _, _, said in found)


def test_every_operation_tells_its_errors_in_the_one_body(described: dict[str, Any]):
    for path, method, said in operations(described):
        errors = {status: answer for status, answer in said["responses"].items() if int(status) >= 400}
        if path in OPEN_PATHS:
            continue
        assert {"401", "403", "422", "429", "503"} <= set(errors), (method, path)
        assert ("404" in errors) == ("{" in path or "events" in path), (method, path)
        for answer in errors.values():
            assert answer["content"]["application/json"]["schema"]["$ref"] == "#/components/schemas/Problem"


def test_every_operation_tells_the_scope_that_it_asks_for(described: dict[str, Any]):
    scopes = {said["operationId"]: said.get("security") for _, _, said in operations(described)}
    admins = ("get_metrics", "drain_worker", "undrain_worker")

    assert scopes.pop("health") is scopes.pop("readiness") is None
    assert {scopes.pop(name)[1]["key"][0] for name in admins} == {"admin"}
    for path, method, said in operations(described):
        if said["operationId"] in scopes:
            wanted = "read" if method == "get" else "submit"
            assert said["security"] == [{}, {"key": [wanted]}], (method, path)


def test_every_reference_leads_somewhere(described: dict[str, Any]):
    text = json.dumps(described)
    names = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}

    assert names <= set(described["components"]["schemas"])


def test_the_body_of_a_submission_is_described_in_every_form(described: dict[str, Any]):
    content = described["paths"]["/v1/batches"]["post"]["requestBody"]["content"]

    assert set(content) == {
        "application/json",
        "application/x-ndjson",
        "text/csv",
        "text/plain",
        "multipart/form-data",
    }
    assert described["components"]["schemas"]["SubmissionShape"]["properties"]["prompts"]["examples"]


def test_shapes_are_those_of_the_command_line(
    http: httpx2.Client, described: dict[str, Any], farm: Farm, hand: FarmHand
):
    batch = farm.submit(["a", "fail b"])
    hand.work_all()
    schemas = described["components"]["schemas"]

    answers = {
        "BatchShape": http.get(f"/v1/batches/{batch.id}").json(),
        "Job": http.get(f"/v1/jobs/{batch.id}-000001").json(),
        "FarmShape": http.get("/v1/farm").json(),
        "WorkerShape": http.get("/v1/workers").json()["workers"][0],
    }

    for name, answer in answers.items():
        assert set(answer) == set(schemas[name]["properties"]), name


def test_a_client_can_be_made_of_it(described: dict[str, Any], http: httpx2.Client, farm: Farm, hand: FarmHand):
    """What generators of clients ask for: where it is, whose it is, what a cursor looks like, which of two lists."""
    assert described["servers"][0]["url"] == "/"
    assert described["info"]["contact"]["name"]
    jobs = described["paths"]["/v1/batches/{batch_id}/jobs"]["get"]["parameters"]
    (cursor,) = (each["schema"] for each in jobs if each["name"] == "cursor")
    batch = farm.submit(["a"] * 12)
    answer = http.get(f"/v1/batches/{batch.id}/jobs", params={"limit": 5}).json()
    assert re.fullmatch(cursor["pattern"], answer["next"])
    assert not re.fullmatch(cursor["pattern"], "a cursor/of another+kind")
    submission = described["components"]["schemas"]["SubmissionShape"]
    assert submission["oneOf"] == [{"required": ["prompts"]}, {"required": ["jobs"]}]
    for body, status in (({"prompts": ["a"], "jobs": [{"prompt": "a"}]}, 422), ({"name": "a"}, 422)):
        assert http.post("/v1/batches", json=body).status_code == status
