"""Stands in for `python -m sigmafarm_worker` in tests of the producer: no torch, a flat picture for every prompt.

Settings come from SIGMAFARM_*, as the real one's do; SIGTERM ends it in order. With --fail it ends as the real one does
when its model cannot be loaded.
"""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from sigmafarm import Farm
from sigmafarm_common.models_file import read_models_file
from tests.farm_hand import FarmHand

COMMAND = [sys.executable, __file__]


def main() -> int:
    if "--fail" in sys.argv:
        sys.stderr.write("sigmafarm worker: model folder /none is no model: name another in SIGMAFARM_MODELS_FILE\n")
        return 2
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: stop.set())
    farm = Farm.from_env()
    models = read_models_file(farm.config.models_file) if farm.config.models_file else {"tiny": None}
    hand = FarmHand(farm, models=tuple(models))
    while not stop.is_set():
        if not hand.work():
            stop.wait(0.02)
    return 0


if __name__ == "__main__":
    sys.exit(main())
