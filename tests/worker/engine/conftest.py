from __future__ import annotations

from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """A traceback with the values of its tensors, as structlog draws it for a program, takes a second."""
    with capture_logs():
        yield
