"""Submits a contender's jobs: `python -m tests.bench.queues.apps.submit celery_app 1000`.

The module is imported, as its workers import it: run by itself it would give its tasks other names.
"""

from __future__ import annotations

import asyncio
import importlib
import sys


def main(name: str, num: str) -> None:
    app = importlib.import_module(f"tests.bench.queues.apps.{name}")
    submitted = app.submit(int(num))
    if submitted is not None:
        asyncio.run(submitted)


if __name__ == "__main__":
    main(*sys.argv[1:])
