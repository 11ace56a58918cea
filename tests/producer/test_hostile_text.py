"""Text that is meant to drive a terminal, in every field that others write, through every command that reads."""

from __future__ import annotations

import io
import json
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.text import Text

from sigmafarm import Farm, ModelCard, WorkerInfo
from sigmafarm.cli.output import Rows
from sigmafarm.console import PlainConsole, line
from sigmafarm_common.keys import KeyRecord, Scope
from sigmafarm_common.store.values import Claim
from sigmafarm_common.visible import visible, visible_json
from tests.farm_hand import FarmHand
from tests.terminal import Terminal

pytestmark = pytest.mark.slow

#: A title, a cleared screen, colours, a link, the clipboard, 8-bit controls, the reading direction, lines of their own.
HOSTILE = (
    "\x1b]0;owned\x07\x1b[2J\x1b[31mred\x1b]8;;http://evil\x1b\\link\x1b]52;c;ZXZpbA==\x07\x9b31m\x9d0;t\x9c\x90q\x9c"
    "\u202egnp.\u202c\u2066x\u2069\u200f\u061c\ufeff\u2028\u2029\x00\x08\x7f\r[red]markup[/red] "
    ":smile:\nsigmafarm: all is well"
)
#: The same as an argument may say it, which holds no NUL.
ARGUMENT = HOSTILE.replace("\x00", "")
#: What no terminal may be sent. Rich's own colours and cursor moves are none of these.
FORBIDDEN = ("\x1b]", "\x1b[2J", "\x1b[31mred", "\x07", "\x00", "\x08", "\x7f", "\ufeff", "\u2028", "\u2029")


def bad_in(said: str) -> list[str]:
    """What of a terminal's input came from others' text."""
    formats = {
        each for each in said if unicodedata.category(each) in ("Cf", "Cs", "Zl", "Zp") or "\x80" <= each < "\xa0"
    }
    lines = ["a line of its own"] if re.search(r"^\s*sigmafarm: all is well", said, re.MULTILINE) else []
    return [bad for bad in FORBIDDEN if bad in said] + sorted(map(repr, formats)) + lines


@pytest.fixture
def spoiled(farm: Farm) -> tuple[Farm, str, str]:
    """A farm in which every field that somebody writes is hostile: the farm, a batch, and its failed job."""
    store = farm.store
    hand = FarmHand(farm)
    store.register_models(
        [ModelCard(name="odd", description=HOSTILE, defaults={"height": 64, "width": 64, "x": HOSTILE})]
    )
    defaults = {"negative_prompt": HOSTILE, "model": "tiny"}
    batch = farm.submit([HOSTILE, "fail " + HOSTILE, "b"], name=HOSTILE, owner=HOSTILE[:60], defaults=defaults)
    for claim in hand.claim():
        end(farm, hand, claim)
    store.renew(
        WorkerInfo(
            id=HOSTILE,
            models=(HOSTILE,),
            host=HOSTILE,
            pid=1,
            device=HOSTILE,
            slots=1,
            lookahead=0,
            failing=HOSTILE,
        ),
        [],
    )
    store.add_key(KeyRecord.make(name=HOSTILE, owner=HOSTILE, scopes=frozenset(Scope), now_ms=1)[0])
    failed = next(job.id for job in batch.jobs(state="failed"))
    return farm, batch.id, failed


def end(farm: Farm, hand: FarmHand, claim: Claim) -> None:
    """Draw a job, or fail it with an error that says what it likes."""
    if claim.request.prompt.startswith("fail"):
        farm.store.fail(claim.job_id, claim.fence, code=HOSTILE, message=HOSTILE, retryable=False)
    else:
        hand._finish(claim)


@pytest.fixture
def terminal(tmp_path: Path, farm: Farm) -> Iterator[Terminal]:
    terminal = Terminal(
        tmp_path, SIGMAFARM_REDIS_URL=farm.config.redis_url, SIGMAFARM_DATA_DIR=farm.config.data_dir, COLUMNS=200
    )
    yield terminal
    terminal.close()


READING = [
    "status",
    "status BATCH",
    "status JOB",
    "jobs BATCH",
    "workers",
    "models",
    "config",
    "check",
    "sweep",
    "doctor",
]
READING += ["keys list", "download BATCH --out pictures"]


def arguments(command: str, batch: str, job: str) -> list[str]:
    return [{"BATCH": batch, "JOB": job}.get(word, word) for word in command.split()]


@pytest.mark.parametrize("command", READING)
def test_no_command_that_reads_lets_others_drive_the_terminal(
    terminal: Terminal, spoiled: tuple[Farm, str, str], command: str
):
    _, batch, job = spoiled

    said = terminal.screen(*arguments(command, batch, job))

    assert bad_in(said) == []
    assert "Traceback" not in said
    if command in ("status", "status BATCH", "status JOB", "workers", "keys list"):
        shown = re.sub(r"\s+", "", re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", said))
        assert r"\x1b]0;owned\x07" in shown  # it is told, not hidden
        assert "[red]markup[/red]" in shown or command == "keys list"


@pytest.mark.parametrize("command", [c for c in READING if "download" not in c])
def test_json_of_every_command_says_the_same_and_drives_nothing(
    terminal: Terminal, spoiled: tuple[Farm, str, str], command: str
):
    farm, batch, job = spoiled

    said = terminal.screen(*arguments(command, batch, job), "--json")

    assert bad_in(said) == []
    found = json.loads(said[said.index("{") : said.rindex("}") + 1])
    if command == "status BATCH":
        assert found["name"] == farm.batch(batch).record.name == HOSTILE


def test_what_is_watched_does_not_drive_the_terminal(terminal: Terminal, spoiled: tuple[Farm, str, str]):
    _, batch, _ = spoiled

    farm_view = terminal.screen("status", "--watch", until="slots busy")
    batch_view = terminal.screen("status", batch, "--watch")

    assert bad_in(farm_view) == []
    assert bad_in(batch_view) == []
    assert r"\x1b]0;owned" in farm_view


@pytest.mark.parametrize(
    "command",
    [
        ["status", ARGUMENT],
        ["status", "a-" + ARGUMENT],
        ["jobs", ARGUMENT],
        ["jobs", "b", ARGUMENT],
        ["jobs", "b", "--state", ARGUMENT],
        ["jobs", "b", "--" + ARGUMENT],
        [ARGUMENT],
        ["download", ARGUMENT],
        ["submit", ARGUMENT],
        ["submit", "-p", "a", "--model", ARGUMENT],
        ["submit", "-p", "a", "--idempotency-key", ARGUMENT * 9],
        ["keys", "revoke", ARGUMENT],
        ["keys", "add", ARGUMENT],
        ["--models-file", ARGUMENT, "models"],
        ["--data-dir", ARGUMENT, "config"],
        ["--objects-url", "ftp://" + ARGUMENT, "status"],
    ],
    ids=lambda words: " ".join(word if word.isprintable() else "X" for word in words),
)
def test_no_error_repeats_what_drives_the_terminal(
    terminal: Terminal, spoiled: tuple[Farm, str, str], command: list[str]
):
    said = terminal.screen(*command)

    assert bad_in(said) == []
    assert "Traceback" not in said


def test_files_and_rows_that_are_hostile_are_told_and_drive_nothing(
    terminal: Terminal, tmp_path: Path, spoiled: tuple[Farm, str, str]
):
    name = "\x1b]0;owned\x07\udcff.jsonl"
    (tmp_path / name).write_bytes(
        b'{"prompt": "a", "\\u001b[2J\\u009b": 1}\n[]\n"\xc2\x9b31m"\n{"model": "\\u202e"}\n' + b"{\n" * 300
    )
    (tmp_path / "rows.csv").write_bytes("prompt,\x1b]0;owned\x07\u202e\na,b\n".encode())
    (tmp_path / "good.txt").write_bytes("\x1b]0;owned\x07 \u202e\n".encode())

    rows, skipped = terminal.screen("submit", name), terminal.screen("submit", name, "--skip-bad", "--model", "tiny")
    columns, good = terminal.screen("submit", "rows.csv"), terminal.screen("submit", "good.txt", "--model", "tiny")

    for said in (rows, skipped, columns, good):
        assert bad_in(said) == []
        assert "Traceback" not in said
    assert "more bad rows" in rows
    assert "more skipped" in skipped
    assert len(rows) < 10_000


# -- the one place


def test_what_is_no_text_is_shown_and_all_text_stays():
    text = "a  b ü 漢字 \U0001f468\u200d\U0001f469\u200d\U0001f467 e\u0301 \xa0 \U0001f3f4"

    assert visible(text) == text
    assert visible("\x1b[2J\x9b\u202e\U000e0001\udcff\t\r\n") == r"\x1b[2J\x9b\u202e\U000e0001\udcff\t\r\n"
    assert visible("a\nb", keep="\n") == "a\nb"
    assert visible(visible(HOSTILE)) == visible(HOSTILE)


def test_json_keeps_what_it_says():
    value = {HOSTILE: [HOSTILE, "\U000e0001 ü 漢字 \U0001f600"]}

    text = visible_json(json.dumps(value, ensure_ascii=False))

    assert json.loads(text) == value
    assert bad_in(text) == []
    assert "漢字 \U0001f600" in text


def test_tables_stay_in_line_and_markup_is_text():
    stream = io.StringIO()
    console = PlainConsole(file=stream, width=120, force_terminal=True)

    rows = [("\x1b\u202e[red]x[/red]", "here"), ("\x07", "here"), ("a" * 24, "here")]
    console.print(Rows(["name", "next"], rows))
    console.print("[red]x[/red] :smile:\x1b[2J\nsecond")
    console.print(Text("\x1b]0;owned"))
    console.print(line("\x1b]0;mine", "red"))

    said = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue()).splitlines()
    assert {row.index("here") for row in said[1:4]} == {26}
    assert said[1].startswith(r"\x1b\u202e[red]x[/red]")
    assert said[4:] == [r"[red]x[/red] :smile:\x1b[2J", "second", r"\x1b]0;owned", r"\x1b]0;mine"]
