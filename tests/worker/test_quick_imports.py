"""What is imported quickly is what is imported slowly, later."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata

import pytest

from sigmafarm_worker.quick_imports import put_off, quick_imports
from tests.limits import LIMIT_S

#: Imports an engine as a worker does, and says what was asked and what was run; then uses what was put off.
PROGRAM = """
import sys
from importlib import metadata

asked = metadata.packages_distributions
calls = []

def counted():
    calls.append(1)
    return asked()

metadata.packages_distributions = counted
from sigmafarm_worker.quick_imports import PutOff, quick_imports
with quick_imports():
    import sigmafarm_worker.service.making_engine
print(len(calls), metadata.packages_distributions is counted, type(sys.modules["scipy.stats"]) is PutOff)

from diffusers import LMSDiscreteScheduler
scheduler = LMSDiscreteScheduler(use_beta_sigmas=True)
scheduler.set_timesteps(4)
print(len(scheduler.sigmas), type(sys.modules["scipy.stats"]) is PutOff)
"""


def test_an_engine_is_imported_without_what_it_does_not_need():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=LIMIT_S, stdin=subprocess.DEVNULL
    )

    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines() == ["1 True True", "5 False"]


def test_all_is_as_it_was_where_an_import_fails():
    asked = metadata.packages_distributions

    with pytest.raises(ModuleNotFoundError), quick_imports():
        import no_such_module  # pyright: ignore[reportMissingImports, reportUnusedImport] # noqa: F401

    assert metadata.packages_distributions is asked


@pytest.mark.parametrize("name", ["json", "no_such_module", "no_such_package.inside"])
def test_what_is_here_already_or_nowhere_stays_as_it_is(name: str):
    before = sys.modules.get(name)

    put_off(name)

    assert sys.modules.get(name) is before
