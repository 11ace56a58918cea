"""The code blocks of README.md and of docs/ that are marked for it are run as they stand, on one small farm.

A command of `sigmafarm` runs in this process, anything that needs a shell in a shell. Ids that a reader puts in are put
in here: BATCH is the newest batch.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from PIL import Image

from sigmafarm import Config, Farm
from sigmafarm.http.server import HttpServer
from tests.command_line import Run, runner
from tests.docs.blocks import Block, blocks_of
from tests.farm_hand import Drawer, FarmHand
from tests.limits import LIMIT_S

ROOT = Path(__file__).parents[2]
#: In the order in which a newcomer reads them: files that one writes are there for the next.
PAGES = ("docs/start.md", "docs/submit.md", "docs/results.md", "docs/watch.md", "docs/python.md", "docs/http.md")
LAST_PAGES = ("docs/mend.md", "README.md")
#: Where the pages have the farm, as `sigmafarm up` serves it.
ADDRESS = "http://127.0.0.1:8420"
#: Commands that a reader says and this farm does not need: it runs already. Or that go on for ever.
LEFT_OUT = (". .venv/", "make ", "sigmafarm up", "sigmafarm status --watch")
SHELL_SIGNS = ("|", "&&", ">", "$")


class Reader:
    """Does what the pages say, in one folder."""

    def __init__(self, farm: Farm, url: str, run: Run, folder: Path):
        self._farm, self._url, self._run, self._folder = farm, url, run, folder

    def follow(self, block: Block) -> None:
        """Write the file, or run the block. Fails where something ends as it should not."""
        if block.kind == "file":
            (self._folder / block.about).write_text(block.text)
        elif block.language == "python":
            exec(compile(block.text, "a block", "exec"), {"__name__": "__main__"})
        else:
            for command in block.commands():
                if not command.startswith(LEFT_OUT):
                    self._do(self._filled(command), block.exit_code)

    def _do(self, command: str, exit_code: int) -> None:
        words = shlex.split(command, comments=True)
        if words[0] == "sigmafarm" and not any(sign in word for word in words for sign in SHELL_SIGNS[1:]):
            ran = self._run(*words[1:])
            assert ran.code == exit_code, f"{command}: {ran.code}\n{ran.out}\n{ran.err}"
            return
        if words[0] == "curl":
            command = command.replace("curl ", "curl --fail-with-body ", 1)
        path = f"{self._folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-ec", command], env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=LIMIT_S
        )
        assert done.returncode == exit_code, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"

    def _filled(self, command: str) -> str:
        newest = self._farm.batches(limit=1)
        batch = newest[0].id if newest else "none"
        # A reader who is as fast as this one would fetch, pause or cancel what is half drawn.
        if newest and not newest[0].is_paused and ("BATCH" in command or "JOB" in command):
            self._farm.batch(batch).wait(timeout_s=LIMIT_S)
        said = {ADDRESS: self._url, "BATCH": batch, "JOB": f"{batch}-000000", "WORKER": "hand"}
        for name, value in said.items():
            command = command.replace(name, value)
        return command


@pytest.fixture
def reader(
    redis_client: redis.Redis,
    redis_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Reader]:
    """A reader with a farm that draws, and the files that the pages take for granted."""
    config = Config(redis_url=redis_url, data_dir=tmp_path / "data", http_port=0)
    folder = tmp_path / "here"
    (folder / "photos").mkdir(parents=True)
    for name in ("boat.jpg", "photos/1.jpg", "photos/2.png"):
        Image.linear_gradient("L").resize((64, 64)).save(folder / name)
    (folder / "bin").mkdir()
    shim = folder / "bin" / "sigmafarm"
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m sigmafarm.cli "$@"\n')
    shim.chmod(0o755)
    monkeypatch.chdir(folder)
    with Farm(config) as farm, HttpServer(config, has_keeper=False) as server, Drawer(FarmHand(farm)):
        yield Reader(farm, server.url, runner(farm, monkeypatch, capsys), folder)


def test_every_marked_block_works_as_it_stands(reader: Reader) -> None:
    if shutil.which("curl") is None or shutil.which("bash") is None:
        pytest.skip("no curl or no bash on the PATH")

    for page in (*PAGES, *LAST_PAGES):
        blocks = blocks_of((ROOT / page).read_text(encoding="utf-8"))
        assert blocks, f"{page} has no block that is run"
        for block in blocks:
            try:
                reader.follow(block)
            except Exception as error:
                error.add_note(f"{page}, line {block.line}")
                raise
