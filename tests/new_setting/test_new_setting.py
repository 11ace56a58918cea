"""A setting is said once: what is added to settings.py alone arrives everywhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.limits import LIMIT_S

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_new_fields_of_settings_arrive_in_every_surface():
    command = [sys.executable, "-m", "pytest", "-p", "tests.new_setting.more_settings", "tests/new_setting/arrivals.py"]
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}

    ran = subprocess.run(
        [*command, "-p", "no:cacheprovider", "-rA"], cwd=ROOT, env=own, capture_output=True, text=True, timeout=LIMIT_S
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.count("PASSED") >= 14
