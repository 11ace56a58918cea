"""The logs of the farm on one machine: kept small, begun anew, read from their end, followed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sigmafarm import Farm
from sigmafarm.log_files import LOG_FILES, begin_anew, keep_small, last_lines, log_path, new_lines
from tests.command_line import Run, runner


@pytest.fixture
def run(farm: Farm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run the program in this process, on the test's farm."""
    monkeypatch.chdir(tmp_path)
    return runner(farm, monkeypatch, capsys)


def line(second: int, event: str, **fields: str) -> str:
    return json.dumps({"event": event, "level": "info", "timestamp": f"2026-11-29T03:00:{second:02d}Z", **fields})


def test_a_log_is_begun_anew_and_the_last_three_are_kept(tmp_path: Path):
    log = tmp_path / "worker.log"
    for number in range(6):
        begin_anew(log)
        log.write_text(f"{number}\n")

    found = {path.name: path.read_text() for path in tmp_path.iterdir()}

    assert found == {"worker.log": "5\n", "worker.log.1": "4\n", "worker.log.2": "3\n", "worker.log.3": "2\n"}


def test_a_log_that_grows_large_is_emptied_under_its_writer_who_goes_on(tmp_path: Path):
    log = tmp_path / "worker.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"many lines\n" * 10)
        keep_small(log, max_bytes=200)
        writer.write(b"still small\n")
        keep_small(log, max_bytes=20)
        writer.write(b"next\n")
        keep_small(log, max_bytes=2)
        writer.write(b"last\n")

    assert [path.read_bytes()[:5] for path in sorted(tmp_path.iterdir())] == [b"last\n", b"next\n", b"many "]


def test_lines_are_read_from_the_end_and_followed_through_a_new_beginning(tmp_path: Path):
    log = tmp_path / "worker.log"
    log.write_text("".join(f"line {n:06d}\n" for n in range(20_000)) + "not whole")

    lines, place = last_lines(log, 2)
    assert lines == ["line 019998", "line 019999"]

    with log.open("a") as file:
        file.write(" yet\nhalf")
    assert new_lines(log, place)[0] == ["not whole yet"]
    log.write_text("anew\n")
    assert new_lines(log, place) == (["anew"], 5)
    assert (last_lines(tmp_path / "none", 3), new_lines(tmp_path / "none", 3)) == (([], 0), ([], 0))


def test_logs_of_workers_and_the_api_are_told_in_the_order_of_time(run: Run, farm: Farm):
    data_dir = farm.config.data_dir
    (data_dir / "broker").mkdir(parents=True)
    worker, api, broker = (log_path(data_dir, part) for part in LOG_FILES)
    worker.write_text(
        "\n".join([line(1, "starts", worker="w1"), line(3, "draws", worker="w2", job="b-1"), "Traceback", ""])
    )
    api.write_text(line(2, "listens", process="api") + "\n")
    broker.write_text("ready\n")

    both, one, own = run("logs"), run("logs", "--worker", "w2", "--json"), run("logs", "broker", "-n", "1")

    assert both.out.splitlines() == [
        "2026-11-29 03:00:01 info    w1 starts",
        "2026-11-29 03:00:02 info    api listens",
        "2026-11-29 03:00:03 info    w2 draws job=b-1",
        "Traceback",
    ]
    assert one.json["job"] == "b-1"
    assert own.out == "ready\n"


def test_where_no_farm_has_run_it_is_said_where_logs_are(run: Run):
    ran = run("logs")

    assert ran.code == 2
    assert "`sigmafarm up` writes them there" in ran.err
