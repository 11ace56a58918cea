"""The wheel that `make wheel` builds: all that the packages need at run time is in it, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {"sigmafarm": "producer", "sigmafarm_common": "common", "sigmafarm_worker": "worker"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    pytest.importorskip("hatchling", reason="hatchling builds the wheel, and is not installed here")
    folder = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_wheel_holds_every_file_of_the_packages_that_git_knows(wheel: zipfile.ZipFile) -> None:
    known = subprocess.run(
        ["git", "ls-files", *(f"{folder}/{package}" for package, folder in PACKAGES.items())],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if known.returncode:
        pytest.skip("this is no clone")

    missing = {line.partition("/")[2] for line in known.stdout.splitlines()} - set(wheel.namelist())

    assert not missing
    assert {name.partition("/")[0] for name in wheel.namelist()} - {"sigmafarm-0.1.0.dist-info"} == set(PACKAGES)


def test_wheel_names_its_command_and_keeps_torch_for_those_who_ask(wheel: zipfile.ZipFile) -> None:
    about = Parser().parsestr(wheel.read("sigmafarm-0.1.0.dist-info/METADATA").decode())
    needed = [line for line in about.get_all("Requires-Dist", []) if "extra ==" not in line]

    assert b"sigmafarm = sigmafarm.cli.__main__:run" in wheel.read("sigmafarm-0.1.0.dist-info/entry_points.txt")
    assert {"worker", "dev"} <= set(about.get_all("Provides-Extra", []))
    assert not [line for line in needed if line.startswith(("torch", "diffusers", "transformers"))]
    assert about["License-Expression"] == "MIT"


def test_readme_names_the_wheel_that_is_built() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")

    assert "dist/sigmafarm-0.1.0-py3-none-any.whl[worker]" in text
    assert "pip install 'sigmafarm[worker]'" not in text.replace("@ git+", ""), "nothing of that name is on PyPI yet"
