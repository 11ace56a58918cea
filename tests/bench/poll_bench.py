"""How long polls of a large batch take, idle and while a worker renders it, and how many Redis commands each costs.

    python tests/bench/poll_bench.py [--jobs 10000] [--pollers 200] [--seconds 20] [--out FILE]

A whole farm of real processes: Redis with AOF, `sigmafarm serve`, a worker with the bundled model. Each poller has a
connection of its own, asks GET /v1/batches/{id} once a second with the ETag that it was given last, and begins at a
moment of its own. First nobody draws: every poll but the first is a 304. Then the worker renders the batch, and what
the pollers see changes all the time. The commands of a poll are counted by the server, less those of the same time
without pollers, for a batch of 10 jobs and for the large one. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from sigmafarm import Config, Farm  # noqa: E402 - after the path
from tests.farm_harness import until  # noqa: E402
from tests.ports import free_port  # noqa: E402
from tests.redis_server import RedisServer  # noqa: E402

#: Polls whose commands are counted, and for how long the farm is counted without them.
COUNTED_POLLS, COUNTED_S = 200, 5.0


@dataclass
class Answers:
    """What the pollers of one round were told."""

    seconds: list[float] = field(default_factory=list[float])
    statuses: dict[int, int] = field(default_factory=dict[int, int])

    def add(self, status: int, seconds: float) -> None:
        self.seconds.append(seconds)
        self.statuses[status] = self.statuses.get(status, 0) + 1

    def told(self) -> dict[str, Any]:
        ordered = sorted(self.seconds)
        at = {name: ordered[int(share * (len(ordered) - 1))] for name, share in (("p50", 0.5), ("p99", 0.99))}
        millis = {f"{name}_ms": round(1000 * value, 1) for name, value in at.items()}
        return {**millis, "max_ms": round(1000 * ordered[-1], 1), "polls": len(ordered), "statuses": self.statuses}


class Poller:
    """One connection that asks the same question again and again, with the ETag of the last answer."""

    def __init__(self, port: int, path: str):
        self._port, self._path, self._etag = port, path, ""

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)

    async def ask(self) -> int:
        """Ask once and return the status."""
        tag = f"If-None-Match: {self._etag}\r\n" if self._etag else ""
        self._writer.write(f"GET {self._path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\n{tag}\r\n".encode())
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        await self._reader.readexactly(int(fields.get("content-length", 0)))
        self._etag = fields.get("etag", self._etag)
        return int(head[0].split()[1])

    async def poll(self, seconds: float, answers: Answers) -> None:
        """Ask once a second, from a moment of its own on."""
        await asyncio.sleep(random.random())
        end_s = time.perf_counter() + seconds
        while (began_s := time.perf_counter()) < end_s:
            answers.add(await self.ask(), time.perf_counter() - began_s)
            await asyncio.sleep(max(0.0, 1.0 - (time.perf_counter() - began_s)))

    def close(self) -> None:
        self._writer.close()


async def polled(port: int, batch_id: str, num_pollers: int, seconds: float) -> Answers:
    """Let so many pollers ask for a time."""
    answers, pollers = Answers(), [Poller(port, f"/v1/batches/{batch_id}") for _ in range(num_pollers)]
    for poller in pollers:
        await poller.open()
    await asyncio.gather(*(poller.poll(seconds, answers) for poller in pollers))
    for poller in pollers:
        poller.close()
    return answers


async def asked_in_a_row(port: int, batch_id: str) -> None:
    poller = Poller(port, f"/v1/batches/{batch_id}")
    await poller.open()
    for _ in range(COUNTED_POLLS):
        await poller.ask()
    poller.close()


def commands_of_a_poll(server: RedisServer, port: int, batch_id: str) -> float:
    """Count the commands of polls in a row, less those that the farm sends anyhow in that time."""
    with server.client() as client:

        def count() -> int:
            return int(client.info("stats")["total_commands_processed"])  # type: ignore[index]

        before, began_s = count(), time.perf_counter()
        time.sleep(COUNTED_S)  # the farm by itself: its loops send commands at their own pace
        own_per_s = (count() - before) / (time.perf_counter() - began_s)
        before, began_s = count(), time.perf_counter()
        asyncio.run(asked_in_a_row(port, batch_id))
        sent = count() - before - own_per_s * (time.perf_counter() - began_s)
    return round(sent / COUNTED_POLLS, 2)


def started(arguments: list[str], config: Config, log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "sigmafarm.cli", *arguments],
            env={**os.environ, **config.environ()},
            stdout=out,
            stderr=out,
        )


def measured(folder: Path, server: RedisServer, told: argparse.Namespace) -> dict[str, Any]:
    config = Config.load(redis_url=server.url, data_dir=folder, objects_url=str(folder / "objects"), num_threads=1)
    port, processes = free_port(), list[subprocess.Popen[bytes]]()
    try:
        worker = started(["worker"], config, folder / "worker.log")
        processes.append(worker)
        farm = Farm(config)
        until(farm.workers, "the worker is ready")
        batches = {num: farm.submit("a red circle", repeat=num) for num in (10, told.jobs)}
        for batch in batches.values():
            batch.pause()
        processes.append(started(["serve", "--port", str(port)], config, folder / "serve.log"))
        until(lambda: _answers(port), "the API answers")
        large = batches[told.jobs]
        until(lambda: not large.counts.running and not batches[10].counts.running, "nothing runs")
        commands = {str(num): commands_of_a_poll(server, port, batch.id) for num, batch in batches.items()}
        idle = asyncio.run(polled(port, large.id, told.pollers, told.seconds))
        large.resume()
        until(lambda: large.counts.succeeded, "the worker renders")
        busy = asyncio.run(polled(port, large.id, told.pollers, told.seconds))
        assert large.counts.queued, "the worker came to the end: give it more jobs"
    finally:
        for process in reversed(processes):
            process.terminate()
            process.terminate()
            process.wait(timeout=60)
    return {"commands_a_poll": commands, "idle": idle.told(), "rendering": busy.told()}


def _answers(port: int) -> bool:
    try:
        asyncio.run(asked_once(port))
    except OSError:
        return False
    return True


async def asked_once(port: int) -> None:
    poller = Poller(port, "/healthz")
    await poller.open()
    await poller.ask()
    poller.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--pollers", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--out", type=Path)
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder) / "redis", has_aof=True)
        server.start()
        try:
            found = measured(Path(folder), server, told)
        finally:
            server.stop()
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout
    line = json.dumps(
        {
            "bench": "polls",
            "jobs": told.jobs,
            "pollers": told.pollers,
            **found,
            "p99_rendering_over_idle": round(found["rendering"]["p99_ms"] / found["idle"]["p99_ms"], 2),
            "commit": commit.strip(),
            "cores": os.cpu_count(),
            "load": round(os.getloadavg()[0], 1),
            "versions": {"python": platform.python_version()}
            | {name: version(name) for name in ("fastapi", "uvicorn", "redis")},
        }
    )
    print(line)
    if told.out:
        with told.out.open("a") as file:
            file.write(line + "\n")


if __name__ == "__main__":
    main()
