"""The wheel that `make wheel` builds: all that the packages need at run time is in it, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from contextlib import suppress
from email.parser import Parser
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PACKAGES = {"sigmafarm": "producer", "sigmafarm_common": "common", "sigmafarm_worker": "worker"}

#: Imports every module of the producer and of what it shares with workers, as if what is said were not installed.
IMPORT_ALL = """
import importlib, pkgutil, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

absent = set(sys.argv[1:])
sys.meta_path.insert(0, Absent())
for package in map(importlib.import_module, ("sigmafarm", "sigmafarm_common")):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
"""


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


def test_producer_imports_every_module_where_nothing_is_installed_but_what_its_wheel_asks_for(
    wheel: zipfile.ZipFile,
) -> None:
    about = Parser().parsestr(wheel.read("sigmafarm-0.1.0.dist-info/METADATA").decode())
    installed = installed_with(about.get_all("Requires-Dist", [])) | {"sigmafarm"}
    absent = [
        name for name, owners in packages_distributions().items() if not installed & {*map(canonicalize_name, owners)}
    ]

    done = subprocess.run([sys.executable, "-c", IMPORT_ALL, *absent], cwd=ROOT, capture_output=True, text=True)

    assert {"torch", "pytest"} <= set(absent)
    assert done.returncode == 0, done.stderr


def test_readme_names_the_wheel_that_is_built() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")

    assert "dist/sigmafarm-0.1.0-py3-none-any.whl[worker]" in text
    assert "pip install 'sigmafarm[worker]'" not in text.replace("@ git+", ""), "nothing of that name is on PyPI yet"


def installed_with(lines: list[str]) -> set[str]:
    """Return the names of all distributions that pip would bring for these requirements, theirs included."""
    names, asked = set[str](), [(Requirement(line), "") for line in lines]
    seen = set[tuple[str, str]]()
    while asked:
        requirement, of_extra = asked.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": of_extra}):
            continue
        names.add(name := canonicalize_name(requirement.name))
        for extra in {"", *requirement.extras}:
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            with suppress(PackageNotFoundError):  # another platform's
                asked += [(Requirement(line), extra) for line in requires(name) or []]
    return names
