"""The manifest: every job of a batch, in order, read in pages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sigmafarm_common.job_warnings import JobWarning
from sigmafarm_common.manifest import MANIFEST_NAME, PAGE_JOBS, manifest_line, write_manifest
from sigmafarm_common.objects.folder import FolderStore
from sigmafarm_common.records import Batch, Counts, Job
from sigmafarm_common.settings import RenderRequest
from sigmafarm_common.states import JobState


def job(row: int, **said: Any) -> Job:
    return Job.model_validate(
        {
            "id": f"b1-{row}",
            "batch_id": "b1",
            "row": row,
            "state": JobState.SUCCEEDED,
            "owner": "ann",
            "model": "m",
            "priority": 0,
            "request": RenderRequest(prompt="a 木 at dawn", seed=row),
            "step": 0,
            "num_steps": 50,
            "fence": 1,
            "attempts": 0,
            "losses": 0,
            "image_key": f"b1/{row:06d}-f1.png",
            "sha256": "ab" * 32,
            **said,
        }
    )


class PagedStore:
    """As much of a store as a manifest reads."""

    def __init__(self, jobs: list[Job]):
        self._jobs = jobs
        self.page_sizes: list[int] = []

    def batch(self, batch_id: str) -> Batch:
        return Batch(
            id=batch_id, name="", owner="ann", priority=0, is_paused=False, counts=Counts(), created_ms=1, finished_ms=2
        )

    def jobs(self, batch_id: str, *, state: None, after_row: int, limit: int) -> list[Job]:
        page = [j for j in self._jobs if j.row > after_row][:limit]
        self.page_sizes.append(len(page))
        return page


def test_every_job_has_its_line_in_row_order(tmp_path: Path):
    failed = job(1, state=JobState.FAILED, error="it diverged", image_key="", sha256="")
    store: Any = PagedStore([job(0), failed])

    batch = write_manifest(store, FolderStore(tmp_path), "b1")

    lines = [json.loads(line) for line in (tmp_path / "b1" / MANIFEST_NAME).read_text().splitlines()]
    assert batch.finished_ms == 2
    assert lines[0] == {
        "row": 0,
        "job": "b1-0",
        "key": "b1/000000-f1.png",
        "sha256": "ab" * 32,
        "settings": {"prompt": "a 木 at dawn", "seed": 0},
        "state": "succeeded",
        "error": "",
    }
    assert (lines[1]["state"], lines[1]["error"], lines[1]["key"]) == ("failed", "it diverged", "")


def test_a_line_names_the_model_that_drew_it_where_that_is_known(tmp_path: Path):
    store: Any = PagedStore([job(0, fingerprint="0f3c9a71d2e4"), job(1)])

    write_manifest(store, FolderStore(tmp_path), "b1")

    lines = [json.loads(line) for line in (tmp_path / "b1" / MANIFEST_NAME).read_text().splitlines()]
    assert [line.get("fingerprint") for line in lines] == ["0f3c9a71d2e4", None]


def test_a_line_has_its_jobs_warnings_where_there_are_some():
    told = JobWarning(code="prompt_cut", text="2 tokens do not fit")

    lines = [json.loads(manifest_line(each, "")) for each in (job(0, warnings=(told,)), job(1))]

    assert [line.get("warnings") for line in lines] == [[{"code": "prompt_cut", "text": "2 tokens do not fit"}], None]


def test_a_long_batch_is_read_in_pages(tmp_path: Path):
    store: Any = PagedStore([job(row) for row in range(PAGE_JOBS + 3)])

    write_manifest(store, FolderStore(tmp_path), "b1")

    assert store.page_sizes == [PAGE_JOBS, 3, 0]
    assert len((tmp_path / "b1" / MANIFEST_NAME).read_text().splitlines()) == PAGE_JOBS + 3
