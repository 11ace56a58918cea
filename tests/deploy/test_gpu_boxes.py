"""Files for machines with GPUs: what Compose, systemd and the program itself would say of them."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from sigmafarm.cli.app import make_app
from sigmafarm_common.config import Config, variable
from sigmafarm_worker.service.supervisor import KILL_MARGIN_S
from tests.test_deploy import BASE, interpolated, merged

ROOT = Path(__file__).parents[2]
BOXES = ROOT / "deploy" / "gpu-boxes"
WORKER, HEAD, ENVIRONMENT = BOXES / "compose.yml", BOXES / "head.yml", BOXES / "worker.env.example"
UNIT, SPOT_UNIT = BOXES / "sigmafarm-worker.service", ROOT / "deploy" / "spot" / "sigmafarm-spot.service"
SAID = {
    "SIGMAFARM_REDIS_URL": "redis://:opensesame@10.0.0.5:6379/0",
    "SIGMAFARM_OBJECTS_URL": "s3://sigmafarm",
    "AWS_ACCESS_KEY_ID": "farm",
    "AWS_SECRET_ACCESS_KEY": "opensesame",
    "VALKEY_PASSWORD": "opensesame",
    "BOX_NAME": "gpu-1",
    "PRIVATE_ADDRESS": "10.0.0.5",
}


def read(path: Path, **said: str) -> dict[str, Any]:
    return yaml.safe_load(interpolated(path.read_text(), {**SAID, **said}))


def unit(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(path)
    return parser


@pytest.mark.parametrize("path", [WORKER, HEAD], ids=lambda path: path.name)
def test_compose_files_keep_the_schema(path: Path) -> None:
    checker = Path(sys.executable).parent / "check-jsonschema"
    if not checker.exists():
        pytest.skip("check-jsonschema is not installed")

    done = subprocess.run([checker, "--builtin-schema", "vendor.compose-spec", path], capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["SIGMAFARM_REDIS_URL", "SIGMAFARM_OBJECTS_URL", "AWS_SECRET_ACCESS_KEY", "BOX_NAME"])
def test_no_machine_is_started_that_was_not_told_its_farm(name: str) -> None:
    with pytest.raises(AssertionError, match=rf"{name} is required: set it in .env, see worker.env.example"):
        read(WORKER, **{name: ""})


def test_what_a_machine_is_told_are_settings_of_the_farm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in read(WORKER)["services"]["worker"]["environment"].items():
        monkeypatch.setenv(name, value)

    config = Config()

    assert (config.redis_url, config.objects_url) == (SAID["SIGMAFARM_REDIS_URL"], "s3://sigmafarm")
    assert (config.device, config.models_file, config.s3_endpoint_url) == ("cuda", None, None)


def test_example_says_every_variable_that_the_worker_files_ask_for() -> None:
    asked = set(re.findall(r"\$\{(\w+)", WORKER.read_text()))
    said = set(re.findall(r"^(?:# )?([A-Z_0-9]+)=", ENVIRONMENT.read_text(), re.MULTILINE))

    assert asked <= said
    assert {name for name in said if name.startswith("SIGMAFARM_")} <= {variable(n) for n in Config.model_fields}


def test_worker_machine_has_longer_to_end_than_its_jobs() -> None:
    worker, service = read(WORKER)["services"]["worker"], unit(UNIT)["Service"]
    needed_s = float(worker["environment"]["SIGMAFARM_DRAIN_S"]) + KILL_MARGIN_S

    assert int(worker["stop_grace_period"].removesuffix("s")) > needed_s
    assert int(service["TimeoutStopSec"]) > needed_s
    assert service["KillMode"] == "mixed", "a second SIGTERM to a worker would hand its pictures back at once"


def test_worker_container_is_nobody_and_reserves_the_gpus() -> None:
    worker = read(WORKER)["services"]["worker"]

    assert (worker["read_only"], worker["cap_drop"]) == (True, ["ALL"])
    assert worker["security_opt"] == ["no-new-privileges:true"]
    (device,) = worker["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["count"], device["capabilities"]) == ("nvidia", "all", ["gpu"])
    assert (WORKER.parent / worker["build"]["context"]).resolve() == ROOT
    assert worker["hostname"] == "gpu-1"


def test_machine_with_the_records_is_reached_at_its_private_address_alone() -> None:
    farm = merged(read(BASE), read(HEAD))

    # Compose adds to a list of ports what the second file says; `merged` shows that part.
    assert farm["services"]["records"]["ports"] == ["10.0.0.5:6379:6379"]
    assert farm["services"]["objects"]["ports"] == ["10.0.0.5:8333:8333"]
    with pytest.raises(AssertionError, match="PRIVATE_ADDRESS is required"):
        read(HEAD, PRIVATE_ADDRESS="")


@pytest.mark.parametrize("path", [UNIT, SPOT_UNIT], ids=lambda path: path.name)
def test_systemd_finds_no_fault_with_a_unit(path: Path, tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not here")
    copy = tmp_path / path.name  # whose program is one that is here, and nobody's user
    copy.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", path.read_text(), flags=re.MULTILINE))

    done = subprocess.run([analyze, "verify", "--man=no", copy], capture_output=True, text=True)

    assert path.name not in done.stderr, done.stderr


def test_unit_starts_a_command_that_the_program_takes_with_settings_that_exist() -> None:
    service = unit(UNIT)["Service"]
    program, *arguments = shlex.split(service["ExecStart"])
    said = dict(pair.split("=", 1) for pair in service["Environment"].split())

    assert program == "/opt/sigmafarm/bin/sigmafarm"
    command = typer.main.get_command(make_app())
    assert isinstance(command, typer.core.TyperGroup)
    assert command.resolve_command(command.make_context("sigmafarm", list(arguments)), list(arguments))[0] == "worker"
    assert {name for name in said if name.startswith("SIGMAFARM_")} <= {variable(n) for n in Config.model_fields}
    assert said["SIGMAFARM_DATA_DIR"] == f"/var/lib/{service['StateDirectory']}"
    assert said["HF_HOME"] == f"/var/cache/{service['CacheDirectory']}"
