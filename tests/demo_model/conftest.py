"""The demo model's sources are no installed package: put them within reach."""

from __future__ import annotations

import sys
from pathlib import Path

_WORKER = str(Path(__file__).resolve().parents[2] / "worker")
if _WORKER not in sys.path:
    sys.path.append(_WORKER)
