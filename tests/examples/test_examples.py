"""The examples run as they stand: scripts on a farm, the notebook's cells in one process."""

from __future__ import annotations

import csv
import json
import os
import re
import runpy
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
import redis
from PIL import Image

from sigmafarm import Config, Farm, RenderRequest
from sigmafarm.examples import EXAMPLES
from sigmafarm_worker.bundled import bundled_model_path
from sigmafarm_worker.engine import Engine
from sigmafarm_worker.models import load_model
from tests.command_line import runner
from tests.common.s3_servers import KEY_ID, SECRET, moto_server
from tests.farm_hand import Drawer, FarmHand
from tests.kernel import Kernel

FOLDER = Path(__file__).parents[2] / "examples"
SCRIPTS = sorted(FOLDER.glob("*.py"))


@pytest.fixture
def farm(redis_client: redis.Redis, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Farm]:
    """A farm whose hand draws all the while."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIGMAFARM_REDIS_URL", redis_url)
    monkeypatch.setenv("SIGMAFARM_DATA_DIR", str(tmp_path / "data"))
    farm = Farm(Config(redis_url=redis_url, data_dir=tmp_path / "data"))
    with Drawer(FarmHand(farm)):
        yield farm


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_draws_its_pictures(farm: Farm, monkeypatch: pytest.MonkeyPatch, script: Path) -> None:
    monkeypatch.setattr(sys, "argv", [str(script), "--steps", "4", "--model", "tiny"])

    runpy.run_path(str(script), run_name="__main__")

    (batch,) = farm.batches()
    assert batch.counts.succeeded == batch.counts.total > 0
    assert len(list(Path("out", script.stem).glob("0*.png"))) == batch.counts.total


@pytest.mark.parametrize("name", list(EXAMPLES))
def test_the_command_draws_each(
    farm: Farm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    ran = runner(farm, monkeypatch, capsys)("examples", name, "--out", "here", "--json")

    jobs = list(farm.batch(ran.json["batch"]).jobs())
    assert len(jobs) == len(EXAMPLES[name].prompts) * EXAMPLES[name].repeat
    assert jobs[0].request.num_inference_steps == EXAMPLES[name].settings["num_inference_steps"]
    assert (jobs[0].request.width, jobs[0].request.seed) == (64, EXAMPLES[name].settings["seed"])
    assert (jobs[0].request.init_image is not None) == EXAMPLES[name].has_picture


def test_the_five_programs_draw_with_their_published_settings() -> None:
    names = ("num_inference_steps", "guidance_scale", "seed", "start_step")
    told = {name: tuple(each.settings.get(key) for key in names) for name, each in EXAMPLES.items()}

    assert told == {
        "custom-script": (200, 7.5, 4, None),
        "pipeline-from-parts": (70, 7.5, 100, None),
        "deep-dive": (50, 8, 32, 10),
        "refresher": (50, 7, 104853234, None),
        "lesson-notes": (70, 7.5, 100, None),
    }


def test_fewer_steps_start_in_proportion_and_a_picture_of_ones_own_is_drawn_on(
    farm: Farm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, own = runner(farm, monkeypatch, capsys), Image.new("RGB", (96, 96), "red")
    own.save("own.png")

    drawn = run("examples", "deep-dive", "--steps", "20", "--image", "own.png", "--json")
    refused = run("examples", "refresher", "--image", "own.png")

    (job,) = farm.batch(drawn.json["batch"]).jobs()
    assert (job.request.num_inference_steps, job.request.start_step) == (20, 4)
    assert job.request.init_image == farm.upload(own)
    assert (refused.code, "refresher draws from its prompt alone" in refused.err) == (2, True)


def test_a_table_with_ids_gives_files_of_their_names(
    farm: Farm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, table = runner(farm, monkeypatch, capsys), FOLDER / "dataset.csv"

    sent = run("submit", table, "--wait", "--out", "pictures", "--name-by", "id", "--json")

    rows = list(csv.DictReader(table.read_text("utf-8").splitlines()))
    assert (sent.code, sent.json["download"]["num_fetched"]) == (0, len(rows))
    assert {path.stem for path in Path("pictures").glob("*.png")} == {row["id"] for row in rows}
    told = [json.loads(line) for line in Path("pictures", "manifest.jsonl").read_text("utf-8").splitlines()]
    assert [line["columns"] for line in told] == [{key: row[key] for key in ("id", "label", "x_split")} for row in rows]
    found = run("jobs", sent.json["batch"]["id"], "--where", "x_split=test", "--fields", "columns.id")
    assert found.out.split() == ["star-yellow-01", "boat-01"]


def test_three_machines_share_a_bucket_and_each_is_told_what_it_drew(
    redis_url: str,
    redis_client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    said = {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET, "SIGMAFARM_REDIS_URL": redis_url}
    with moto_server() as url, ExitStack() as machines:
        said |= {"SIGMAFARM_OBJECTS_URL": "s3://sigmafarm", "SIGMAFARM_S3_ENDPOINT_URL": url}
        for name, value in said.items():
            monkeypatch.setenv(name, value)
        boto3.client("s3", endpoint_url=url, region_name="us-east-1").create_bucket(Bucket="sigmafarm")
        farm = machines.enter_context(Farm.from_env(data_dir=tmp_path / "data"))
        for name in ("gpu-1", "gpu-2", "gpu-3"):
            machines.enter_context(Drawer(FarmHand(farm, slots=2, name=name)))
        monkeypatch.setattr(sys, "argv", ["three_boxes.py", "--jobs", "9"])
        runpy.run_path(str(FOLDER / "three_boxes.py"), run_name="__main__")

    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [f"gpu-{n}: 1 worker" for n in (1, 2, 3)]
    assert sum(int(line.split()[2]) for line in lines[3:]) == 9
    assert len(list(Path("out/three_boxes").glob("0*.png"))) == 9


def test_three_boxes_point_to_the_files_that_start_them(
    redis_url: str, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text, root = (FOLDER / "three_boxes.py").read_text("utf-8"), FOLDER.parent
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIGMAFARM_REDIS_URL", redis_url)
    monkeypatch.setattr(sys, "argv", ["three_boxes.py"])

    assert {path for path in re.findall(r"(?:deploy|docs)/[\w./-]*\w", text) if not (root / path).exists()} == set()
    names = re.findall(r"^((?:SIGMAFARM|AWS)_\w+)=", (root / "deploy/gpu-boxes/worker.env.example").read_text(), re.M)
    assert names == re.findall(r"(?:SIGMAFARM|AWS)_\w+", text)
    with pytest.raises(SystemExit, match="no worker takes jobs: start one on each machine"):
        runpy.run_path(str(FOLDER / "three_boxes.py"), run_name="__main__")


@pytest.mark.slow
def test_the_bundled_model_draws_all_of_them() -> None:
    engine = Engine(load_model(bundled_model_path()))
    asked = [
        (RenderRequest.parse({**each.defaults(steps=5), "prompt": prompt}), each.picture())
        for each in EXAMPLES.values()
        for prompt in each.prompts
    ]

    futures = [
        engine.submit(request, init_image=picture and np.asarray(picture.resize((128, 128))))
        for request, picture in asked
    ]
    while engine.step():
        pass

    assert [future.result(0).pixels.shape for future in futures] == [(128, 128, 3)] * len(asked)
    assert all(future.result(0).pixels.std() > 10 for future in futures)


def test_the_command_lists_them(
    farm: Farm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = runner(farm, monkeypatch, capsys)

    assert "custom-script" in run("examples").out
    assert [each["name"] for each in run("examples", "--json").json["examples"]] == list(EXAMPLES)
    assert "there are custom-script" in run("examples", "nobody").err


@pytest.mark.slow
def test_the_notebooks_cells_run() -> None:
    notebook = json.loads((FOLDER / "deep_dive.ipynb").read_text("utf-8"))
    names: dict[str, Any] = {}

    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]).replace("STEPS = 20", "STEPS = 4"), names)

    assert names["tokens"].figures["num_cut"] == 0
    assert names["noised"].figures["step"] == 2


@pytest.mark.slow
def test_the_first_hours_cells_run_in_a_kernel(farm: Farm, tmp_path: Path) -> None:
    notebook = json.loads((FOLDER / "first_hour.ipynb").read_text("utf-8"))

    with Kernel(tmp_path, os.environ) as kernel:
        for cell in notebook["cells"]:
            ran = kernel.run("".join(cell["source"])) if cell["cell_type"] == "code" else None
            assert ran is None or (ran.raised, ran.errors) == (None, "")

    assert len(list(tmp_path.glob("out/first_hour/0*.png"))) == 4
    assert {batch.name for batch in farm.batches()} == {"first hour", "guidance and steps", "balls", ""}


def test_the_first_hour_is_stored_as_it_was_drawn_and_tells_of_no_machine() -> None:
    text = (FOLDER / "first_hour.ipynb").read_text("utf-8")
    codes = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]

    assert all(cell["outputs"] for cell in codes)
    assert "4 of 4" in text
    assert "trajectory_diverged" in text
    assert "image/png" in text
    assert (
        re.findall(r"(?:/root|/tmp|/work|/home/(?!me\b))[\w/]*", re.sub(r'"image/png": "[^"]*"|base64,[^"]*', "", text))
        == []
    )
    assert len(text) < 300_000
