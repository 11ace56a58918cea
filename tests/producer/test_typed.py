"""A user's script with all public names passes the checkers that people use, at their strictest."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import sigmafarm

ROOT = Path(__file__).parents[2]
#: What none of our public types is made of is not read: that halves mypy's time.
SETTINGS = """[mypy]
strict = true
[mypy-IPython.*,numpy.*,redis.*,rich.*,structlog.*]
follow_imports = skip
"""
#: Said here, so that no file in a folder above decides: basedpyright's own default heeds no `type: ignore`.
PYRIGHT_SETTINGS = {
    "typeCheckingMode": "strict",
    "enableTypeIgnoreComments": True,
    "reportUnnecessaryTypeIgnoreComment": "error",
}
SCRIPT = Path(__file__).with_name("users_script.py")


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """The script where a user's would be: away from our folders, where types come from what is installed."""
    return Path(shutil.copy(SCRIPT, tmp_path))


def check(*command: str, folder: Path) -> str:
    """Return what a checker finds, empty for nothing."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    return done.stdout + done.stderr if done.returncode else ""


def test_the_script_uses_every_public_name():
    words = SCRIPT.read_text(encoding="utf-8").replace(",", " ").split()

    assert [name for name in sigmafarm.__all__ if name not in words] == []


@pytest.mark.parametrize("package", ["common/sigmafarm_common", "producer/sigmafarm", "worker/sigmafarm_worker"])
def test_a_package_says_that_it_is_typed(package: str):
    assert (ROOT / package / "py.typed").exists()


@pytest.mark.slow
def test_mypy_finds_nothing_strictly(script: Path):
    (script.parent / "mypy.ini").write_text(SETTINGS)
    command = [sys.executable, "-m", "mypy", "--no-incremental", "--cache-dir", "cache", script.name]

    assert check(*command, folder=script.parent) == ""


@pytest.mark.slow
def test_pyright_finds_nothing_strictly(script: Path):
    (script.parent / "pyrightconfig.json").write_text(json.dumps(PYRIGHT_SETTINGS))
    checker = str(Path(sys.executable).parent / "basedpyright")

    assert check(checker, "--level", "error", "--pythonpath", sys.executable, script.name, folder=script.parent) == ""
