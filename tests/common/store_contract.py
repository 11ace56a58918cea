"""What tests of stores have in hand: settings, a clock that is told, requests, and the steps of a job's life."""

from __future__ import annotations

from collections.abc import Iterable

from sigmafarm_common.config import Config
from sigmafarm_common.records import Batch, WorkerInfo
from sigmafarm_common.settings import RenderRequest
from sigmafarm_common.states import JobState
from sigmafarm_common.store.protocol import Store
from sigmafarm_common.store.values import Claim, Output

#: Settings of the suite: round numbers, so that a test's times can be read.
CONFIG = Config(
    lease_s=10,
    unclaimed_s=5,
    retry_delay_s=2,
    max_attempts=3,
    max_losses=3,
    submit_stale_s=60,
    retention_s=100,
    upload_keep_s=50,
)
#: The same with tries enough for every limit of the store to show, and a memory without end.
PATIENT = CONFIG.replaced(max_attempts=100, retention_s=0)


class FakeMs:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.now_ms = 1_700_000_000_000

    def __call__(self) -> int:
        return self.now_ms

    def advance(self, seconds: float) -> None:
        self.now_ms += round(seconds * 1000)


def request(prompt: str = "a red circle", *, steps: int = 10, side: int = 64, model: str = "m") -> RenderRequest:
    fields = {"num_inference_steps": steps, "height": side, "width": side, "seed": 1, "model": model}
    return RenderRequest(prompt=prompt, **fields).resolved()


def submit(
    store: Store,
    num_jobs: int = 1,
    *,
    priority: int = 0,
    owner: str = "ann",
    key: str | None = None,
    requests: Iterable[RenderRequest] | None = None,
    reuse: bool = False,
) -> Batch:
    said = {"name": "test", "owner": owner, "priority": priority, "defaults": {}, "idempotency_key": key}
    ticket = store.begin_batch(**said, reuse=reuse)
    store.add_rows(ticket.batch_id, list(requests or [request(f"prompt {n}") for n in range(num_jobs)]))
    return store.seal_batch(ticket.batch_id)


#: What every model of these workers is made of.
WEIGHTS = "w0"


def worker(name: str = "w1", *, slots: int = 4, lookahead: int = 0, models: tuple[str, ...] = ("m",)) -> WorkerInfo:
    room = {"slots": slots, "lookahead": lookahead, "fingerprints": dict.fromkeys(models, WEIGHTS)}
    return WorkerInfo(id=name, models=models, host="h", pid=1, device="cpu", **room)


def dispatch(store: Store, **settings: object) -> list[str]:
    """Let a worker be known and return the job ids that are dispatched to its free slots."""
    store.renew(worker(**settings), [])  # type: ignore[arg-type]
    return [d.job_id for d in store.dispatch()]


def claim_all(store: Store, job_ids: Iterable[str], name: str = "w1") -> list[Claim]:
    claims = [store.claim(job_id, name) for job_id in job_ids]
    assert all(claims)
    return [c for c in claims if c]


def run_one(store: Store, batch: Batch) -> Claim:
    """Bring the first job of a batch into running and return its claim."""
    (claim,) = claim_all(store, dispatch(store, slots=1)[:1])
    assert claim.batch_id == batch.id
    return claim


def output(claim: Claim) -> Output:
    return Output(f"{claim.batch_id}/{claim.job_id}-f{claim.fence}.png", "a" * 64, 1234)


def counts(store: Store, batch: Batch) -> dict[str, int]:
    """The batch's counts that are not zero, checked against the states of its jobs."""
    said = {k: v for k, v in store.batch(batch.id).counts.model_dump().items() if v}
    seen = {s.value: len(store.jobs(batch.id, state=s, limit=10_000)) for s in JobState}
    assert said == {k: v for k, v in seen.items() if v}
    return said
