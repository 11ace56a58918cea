"""The farm's own code in one thread of control: clean for many seeds, the same for the same seed, and no farm that is
broken by hand stays unseen."""

from __future__ import annotations

import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from sigmafarm import submission
from sigmafarm.http.fronts.lobby import Lobby
from sigmafarm_common import concluder
from sigmafarm_common.errors import RenderError
from sigmafarm_common.keeper import Keeper
from sigmafarm_common.states import JobState
from sigmafarm_common.uploads import storing
from sigmafarm_common.uploads.reading import ReadPicture
from sigmafarm_worker.service import render
from sigmafarm_worker.service.desk import Desk, HeldJob, Phase
from sigmafarm_worker.service.render import Renderer
from tests.limits import LIMIT_S
from tests.simulation.store import SimulatedStore
from tests.simulation.world import World
from tests.store_model import keeping
from tests.store_model.model_records import JobRecord
from tests.store_model.moves import Moves
from tests.store_model.store_model import StoreModel

ROOT = Path(__file__).parents[1]
#: For how many seconds farms are simulated. More of them: `make simulate`.
SECONDS = os.environ.get("SIMULATE_S", "60")


def simulate(*said: str) -> str:
    """Run the command; return what it says, or fail with it."""
    command = [sys.executable, "-m", "tests.simulation", *said]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return done.stdout


def first_seed() -> str:
    """Return where the seeds begin: others for each commit, and for one commit the same, so that who comes upon a
    broken promise can have it again."""
    git = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return str(int(git.stdout[:10] or "1", 16))


@pytest.mark.slow
def test_no_promise_breaks():
    said = simulate("--first", first_seed(), "--seconds", SECONDS, "--processes", "1")

    print(said)
    assert "job lives" in said


@pytest.mark.slow
def test_the_scripts_on_a_real_server_answer_as_the_model_does():
    said = simulate("--first", first_seed(), "--seconds", "4", "--jobs", "80", "--processes", "1", "--scripts")

    print(said)
    assert "answers of the scripts are the model's" in said


def test_the_same_seed_gives_the_same_trace():
    first, second = (simulate("--seed", "7") for _ in range(2))

    assert "trace " in first
    assert first == second


def forget_both(desk: Desk, held: HeldJob, *, is_done: bool) -> None:
    """Take a try off the desk by its job's id alone, as the desk once did."""
    for tried in [each for each in desk._jobs if each.job_id == held.claim.job_id]:
        del desk._jobs[tried]


def lose_uncounted(moves: Moves, job: JobRecord, why: str) -> None:
    """Take a job back from a dead worker and count no death."""
    before = job.losses
    _lose(moves, job, why)
    if job.state is JobState.QUEUED:
        job.losses = before


def sweep_everything(_store: Any, objects: Any, batch_id: str, *_: Any) -> list[str]:
    """Remove what lost tries left, and the accepted pictures with it."""
    for each in list(objects.list(batch_id)):
        objects.delete(each.key)
    return []


def fail_for_ever(store: StoreModel, job_id: str, fence: Any, **said: Any) -> Any:
    """Let no job fail for good, however often it was tried."""
    if (job := store._moves.find(job_id)) is not None:
        job.attempts = 0
    return _fail(store, job_id, fence, **{**said, "retryable": True})


def fail_at_once(store: StoreModel, job_id: str, fence: Any, **said: Any) -> Any:
    """Take every failure for one that no other try mends."""
    return _fail(store, job_id, fence, **{**said, "retryable": False})


def forget_the_key(store: StoreModel, *, idempotency_key: str | None = None, **said: Any) -> Any:
    """Begin a batch whatever its key."""
    return _begin(store, **said)


def judge(renderer: Renderer, held: HeldJob, why: str = "") -> None:
    """Take it for its job's fault that a picture could not be stored."""
    if held.phase is Phase.STORING:
        renderer._fail(held.claim, RenderError(why))
    else:
        _give_back(renderer, held, why)


def use_no_uploads(*_: Any) -> None:
    """Let batches name pictures, and let them count as unused."""


def remove_all_uploads(_store: Any, objects: Any) -> list[str]:
    """Remove every picture to draw from, whoever uses it."""
    for each in list(objects.list(storing.PREFIX)):
        objects.delete(each.key)
    return []


def record_first(store: Any, objects: Any, owner: str, picture: ReadPicture, **said: Any) -> storing.Stored:
    """Keep the record of a picture, then put it."""
    key = storing.upload_key(owner, sha256(picture.png).hexdigest())
    upload = store.note_upload(storing.upload_of(owner, picture, key))
    if upload.key == key:
        objects.put(key, picture.png, "image/png")
    return storing.Stored(upload, is_new=upload.key == key)


def seal_uncounted(store: StoreModel, batch_id: str, **said: Any) -> Any:
    """Accept a batch with the rows that are there."""
    return _seal(store, batch_id, **{**said, "num_rows": None})


def count_all(store: StoreModel, owner: str) -> int:
    """Count all jobs of an owner as open."""
    return sum(len(batch.jobs) for batch in store._moves.batches.values() if batch.is_sealed and batch.owner == owner)


_lose, _fail, _begin = Moves.lose, StoreModel.fail, StoreModel.begin_batch
_give_back, _seal = Renderer._give_back, StoreModel.seal_batch

#: What is broken by hand: where, its name there, and what stands in its place.
MUTATIONS: dict[str, tuple[Any, str, Any]] = {
    "a desk that knows jobs by their id alone: cancel and retry of a running job": (Desk, "let_go", forget_both),
    "any worker may finish a running job": (JobRecord, "runs_under", lambda job, _: job.state is JobState.RUNNING),
    "leases are judged right after an outage": (Keeper, "_judges_leases", lambda _: True),
    "drops are not passed on": (Desk, "drop_all", lambda *_: None),
    "jobs never run alone": (Moves, "runs_alone", lambda *_: False),
    "a lost answer to a claim counts as a death": (keeping.Keeping, "_is_unheld", lambda *_: False),
    "a worker does not wait with what it has to say": (render, "patiently", lambda call, _: call()),
    "calls that nobody claims are not forgotten": (keeping.Keeping, "_make_due_ready", lambda *_: []),
    "leases that ran out are not taken back": (keeping.Keeping, "_lose_expired", lambda *_: []),
    "what lost tries left is not swept": (concluder, "sweep_batch", lambda *_: []),
    "sweeps take accepted pictures": (concluder, "sweep_batch", sweep_everything),
    "no manifest is written": (concluder.Concluder, "_conclude", lambda *_: None),
    "a worker does not say which jobs move": (Desk, "beats", lambda _: []),
    "a worker is not told what to drop": (StoreModel, "_drop_reason", lambda *_: None),
    "losses are not counted": (Moves, "lose", lose_uncounted),
    "no job ever fails for good": (StoreModel, "fail", fail_for_ever),
    "what is handed back stays where it is": (StoreModel, "release", lambda *_, **__: True),
    "a cancelled job may finish": (
        JobRecord,
        "runs_under",
        lambda job, fence: job.state in (JobState.RUNNING, JobState.CANCELLED) and (job.fence, job.token) == fence,
    ),
    "a cancel leaves the lease": (Moves, "forget_running", lambda *_: None),
    "a retried job is queued and in no queue": (Moves, "retry", lambda moves, job: moves.move(job, JobState.QUEUED)),
    "nothing is dispatched": (keeping.Keeping, "dispatch", lambda *_: []),
    "a picture's key does not name its try": (
        render,
        "image_key",
        lambda tried, _: f"{tried.job_id.rpartition('-')[0]}/{tried.job_id}.png",
    ),
    "an idempotency key is ignored": (StoreModel, "begin_batch", forget_the_key),
    "other rows are taken for those of a key": (submission, "_check_same", lambda *_: None),
    "submits of processes that died stay": (StoreModel, "stale_batches", lambda _: []),
    "a failure that another try would mend is final": (StoreModel, "fail", fail_at_once),
    "storage that refuses is a verdict about the job": (Renderer, "_give_back", judge),
    "a fence is a number alone": (
        JobRecord,
        "runs_under",
        lambda job, fence: job.state is JobState.RUNNING and job.fence == fence.number,
    ),
    "pictures that batches name count as unused": (StoreModel, "_use_uploads", use_no_uploads),
    "pictures that batches name are removed": (concluder, "remove_unused", remove_all_uploads),
    "the record of a picture comes before it": (storing, "store_picture", record_first),
    "a batch is accepted without the rows that the store lost meanwhile": (StoreModel, "seal_batch", seal_uncounted),
    "a quota is heeded by nobody": (StoreModel, "_check_open_jobs", lambda *_: None),
    "what has ended counts against a quota": (StoreModel, "_num_open", count_all),
    "who waits at another process of the API does not count": (SimulatedStore, "num_seats", lambda *_: 0),
    "the timer of a client that left outlives its return": (Lobby, "_end_timer", lambda *_: None),
    "what a client left for good is drawn": (Lobby, "_time_is_over", lambda *_: None),
}
#: From which seed on, where the first that notices comes late: the README says how long it takes from seed 1.
LATE = {
    "drops are not passed on": 102,
    "a worker does not wait with what it has to say": 10,
    "leases that ran out are not taken back": 9,
    "a worker is not told what to drop": 102,
    "what is handed back stays where it is": 38,
    "a picture's key does not name its try": 85,
    "submits of processes that died stay": 10,
    "a fence is a number alone": 9,
    "the record of a picture comes before it": 11,
    "the timer of a client that left outlives its return": 9,
    "what a client left for good is drawn": 102,
    "losses are not counted": 11,
    "a desk that knows jobs by their id alone: cancel and retry of a running job": 33,
    "storage that refuses is a verdict about the job": 9,
    "leases are judged right after an outage": 9,
    "a quota is heeded by nobody": 10,
    "a batch is accepted without the rows that the store lost meanwhile": 199,
}


@pytest.mark.parametrize("broken", MUTATIONS)
def test_a_farm_that_is_broken_by_hand_is_noticed(broken: str, monkeypatch: pytest.MonkeyPatch):
    first = LATE.get(broken, 1)
    monkeypatch.setattr(*MUTATIONS[broken])

    assert any(World(seed).run().violation for seed in range(first, first + 60))
