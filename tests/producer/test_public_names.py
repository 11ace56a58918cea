"""The package's face: its names, and that it is light."""

from __future__ import annotations

import subprocess
import sys

import pytest

import sigmafarm
from tests.promises import check_promise


def in_a_fresh_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_every_public_name_is_there_and_the_list_is_sorted():
    assert sorted(sigmafarm.__all__) == sigmafarm.__all__
    assert all(hasattr(sigmafarm, name) for name in sigmafarm.__all__)
    with pytest.raises(ImportError):
        from sigmafarm import nothing  # pyright: ignore[reportAttributeAccessIssue] # noqa: F401


def test_the_import_brings_neither_torch_nor_boto_nor_celery_nor_fastapi():
    code = (
        "import sys, sigmafarm; heavy = ('torch', 'numpy', 'boto3', 'celery', 'redis', 'fastapi', 'uvicorn'); "
        "print([m for m in heavy if m in sys.modules])"
    )

    assert in_a_fresh_python(code).strip() == "[]"


def test_status_brings_nothing_that_only_other_commands_need():
    code = (
        "import sys, sigmafarm.cli.app, sigmafarm.cli.look.status, sigmafarm_common.store.redis_store; "
        "heavy = ('boto3', 'celery', 'fastapi', 'jinja2', 'PIL', 'pygments', 'structlog', 'rich.progress'); "
        "print([m for m in (*heavy, 'sigmafarm.farm', 'sigmafarm.submission') if m in sys.modules])"
    )

    assert in_a_fresh_python(code).strip() == "[]"


def test_the_program_starts_and_ends_without_looks_for_garbage():
    code = """
import atexit, gc, sys
from sigmafarm.cli.__main__ import NUM_NEW_OBJECTS, run
atexit.register(lambda: print(gc.get_threshold()[0] == NUM_NEW_OBJECTS, gc.get_freeze_count() > 0))
sys.argv = ["sigmafarm", "--version"]
run()
"""

    assert in_a_fresh_python(code).splitlines()[1:] == ["True True"]


def test_the_import_takes_well_under_a_second_of_processor_time():
    def processor_s(name: str) -> float:
        code = f"import time; a = time.process_time(); {name}; print(time.process_time() - a)"
        return float(in_a_fresh_python(code))

    check_promise(
        0.5, lambda: processor_s("from sigmafarm import *"), lambda: processor_s("import asyncio"), "the import"
    )
