"""What is taken away of a batch: its report, its pictures in a folder; and where its page is."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from sigmafarm import Farm, FarmBatch
from sigmafarm.api_address import API_URL_FILE, forget_address, tell_address
from sigmafarm.reports import Spread
from tests.command_line import Run, runner
from tests.farm_hand import FarmHand

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def run(farm: Farm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run the program in this process, on the test's farm."""
    monkeypatch.chdir(tmp_path)
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    return runner(farm, monkeypatch, capsys)


@pytest.fixture
def batch(hand: FarmHand) -> FarmBatch:
    """Five jobs, two of which failed."""
    rows = [
        {"prompt": "a", "id": "A7", "num_inference_steps": 30},
        {"prompt": "fail", "id": HOSTILE},
        {"prompt": "warn me", "id": "C9"},
        {"prompt": "fail too"},
        {"prompt": "b"},
    ]
    made = hand.farm.submit(rows, name=f"five {HOSTILE}")
    hand.work_all()
    return made


# -- report


def test_a_report_counts_names_what_failed_and_tells_times_and_settings(run: Run, batch: FarmBatch):
    ran = run("report", batch.id, "--json")

    assert ran.code == 0
    assert ran.json["batch"]["counts"]["total"] == 5
    (failure,) = ran.json["failures"]
    assert (failure["code"], failure["num"], failure["error"]) == ("render_failed", 2, "no luck")
    assert [(row["row"], row["columns"]) for row in failure["rows"]] == [(1, {"id": HOSTILE}), (3, {})]
    assert ran.json["settings"]["num_inference_steps"] == {
        "num_values": 2,
        "is_complete": True,
        "most": [["50", 4], ["30", 1]],
    }
    assert ran.json["columns"]["id"]["num_values"] == 3
    assert ran.json["workers"] == {"hand": 3}
    assert {name: ran.json[name]["num"] for name in ("wait", "draw", "upload")} == {"wait": 3, "draw": 3, "upload": 3}
    assert batch.report().to_json()["failures"] == [failure]


def test_a_report_is_read_by_people_and_by_pipes(run: Run, batch: FarmBatch):
    ran = run("report", batch.id)

    assert "3 succeeded, 2 failed" in ran.out
    assert f"render_failed\t2\t{HOSTILE}, 3\tno luck" in ran.out
    assert "num_inference_steps\t2\t50 x4, 30 x1" in ran.out


def test_a_report_is_one_page_that_needs_nothing_else_and_runs_nothing(run: Run, batch: FarmBatch, tmp_path: Path):
    ran = run("report", batch.id, "--html", "report.html")

    page = (tmp_path / "report.html").read_text()
    assert "the report is in report.html" in ran.err
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert not _Tags(page).names & {"script", "link", "img", "iframe", "object"}
    assert "http" not in page.replace("http-equiv", "")


def test_a_report_that_cannot_be_written_says_so(run: Run, batch: FarmBatch):
    ran = run("report", batch.id, "--html", "none/report.html")

    assert ran.code == 2
    assert "none/report.html cannot be written: No such file or directory; check the path" in ran.err


@pytest.mark.parametrize(
    ("times_ms", "spread"),
    [
        ([], Spread()),
        ([2000], Spread(1, 2.0, 2.0, 2.0)),
        (list(range(1000, 11_000, 1000)), Spread(10, 5.0, 9.0, 10.0)),
    ],
)
def test_times_are_told_by_their_middle_and_nine_of_ten(times_ms: list[int], spread: Spread):
    assert Spread.of(times_ms) == spread


class _Tags(HTMLParser):
    """The names of a page's tags."""

    def __init__(self, page: str):
        super().__init__()
        self.names: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.names.add(tag)


# -- download


def test_a_file_that_did_not_change_is_not_read_again_and_verify_reads_all(batch: FarmBatch, tmp_path: Path):
    first = batch.download(tmp_path)
    spoiled, changed = tmp_path / "000000.png", tmp_path / "000002.png"
    for path in (spoiled, changed):
        about = path.stat()
        path.write_bytes(b"x" * about.st_size)
    os.utime(spoiled, ns=(about.st_atime_ns, _mark_of(batch, tmp_path / "000000.png")))

    again, deep = batch.download(tmp_path), batch.download(tmp_path, verify=True)

    assert (first.num_fetched, again.num_fetched, again.num_present) == (3, 1, 2)
    assert (deep.num_fetched, deep.num_present) == (1, 2)  # what a disk spoils keeps its time of change
    assert spoiled.read_bytes().startswith(b"\x89PNG")


def test_a_file_of_an_older_download_is_read_once_and_marked(run: Run, batch: FarmBatch, tmp_path: Path):
    batch.download(tmp_path)
    marked = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.png")}
    for path in marked:
        os.utime(path, ns=(1, 1))

    ran = run("download", batch.id, "--out", tmp_path, "--verify", "--json")

    assert (ran.code, ran.json["num_fetched"], ran.json["num_present"]) == (1, 0, 3)
    assert {path: path.stat().st_mtime_ns for path in marked} == marked


def test_download_names_files_by_a_column_and_tells_doubles(run: Run, hand: FarmHand, tmp_path: Path):
    batch = hand.farm.submit([{"prompt": "a", "label": label} for label in ("cat", "cat", "dog", None)])
    hand.work_all()

    ran, none = (run("download", batch.id, "--out", "p", "--name-by", name) for name in ("label", "name"))

    assert sorted(p.stem for p in (tmp_path / "p").glob("*.png")) == ["000003", "cat", "cat-2", "dog"]
    assert "1 job has the same label as an earlier one: -2, -3 and so on" in ran.err
    assert "1 job has no label: the row is the name" in ran.err
    assert (none.code, "--name-by is 'name': the jobs have no such column" in none.err) == (2, True)


def _mark_of(batch: FarmBatch, path: Path) -> int:
    """Return the time of change that a download of this picture leaves."""
    folder = path.parent / "other"
    batch.download(folder)
    return (folder / path.name).stat().st_mtime_ns


# -- jobs


def test_jobs_are_listed_by_their_columns(run: Run, batch: FarmBatch):
    ran = run("jobs", batch.id, "--where", "id=C9", "--fields", "row,columns.id,prompt")
    as_csv = run("jobs", batch.id, "--state", "succeeded", "--csv", "--fields", "columns.id,label,columns")

    assert ran.out == "2\tC9\twarn me\n"
    assert as_csv.out.splitlines()[:2] == ["columns.id,label,columns", 'A7,,"{""id"": ""A7""}"']
    assert "where is 'id'" not in ran.err
    assert "--where is 'id': must be a column and its value" in run("jobs", batch.id, "--where", "id").err


# -- open


@pytest.fixture
def dashboard() -> Iterator[str]:
    """An address at which something answers as the API does."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_open_prints_the_page_of_a_batch_and_a_job_where_the_farm_says_it_is(run: Run, farm: Farm, dashboard: str):
    farm.config.data_dir.mkdir(exist_ok=True)
    tell_address(farm.config.data_dir, dashboard)

    whole, batch, job = run("open"), run("open", "06f2v3k9qabcdef"), run("open", "06f2v3k9qabcdef-000017", "--json")

    assert (whole.code, whole.out) == (0, f"{dashboard}/\n")
    assert "there is no browser here: open the address in one" in whole.err
    assert batch.out == f"{dashboard}/batches/06f2v3k9qabcdef\n"
    assert job.json == {"url": f"{dashboard}/jobs/06f2v3k9qabcdef-000017", "is_opened": False}
    forget_address(farm.config.data_dir, "http://another")
    assert (farm.config.data_dir / API_URL_FILE).exists()
    forget_address(farm.config.data_dir, dashboard)
    assert not (farm.config.data_dir / API_URL_FILE).exists()


def test_open_takes_an_address_from_a_flag_or_a_setting_and_opens_it(run: Run, monkeypatch: pytest.MonkeyPatch):
    opened: list[str] = []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr("webbrowser.open", lambda url: not opened.append(url))
    monkeypatch.setenv("SIGMAFARM_DASHBOARD_URL", "https://farm.example.org/")

    by_setting, by_flag = run("open"), run("open", "--url", "http://box:8420", "--print")
    bad = run("open", "--url", "box")

    assert by_setting.out == "https://farm.example.org/\n"
    assert by_flag.out == "http://box:8420/\n"
    assert opened == ["https://farm.example.org/"]
    assert (bad.code, "--dashboard-url is 'box': must be an address alone" in bad.err) == (2, True)


def test_open_without_a_dashboard_says_how_to_start_one(run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SIGMAFARM_HTTP_PORT", "1")

    ran = run("open")

    assert ran.code == 3
    assert "no dashboard answers at http://127.0.0.1:1, and none has left its address" in ran.err
    assert json.dumps("SIGMAFARM_DASHBOARD_URL").strip('"') in ran.err
