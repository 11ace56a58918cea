"""What a worker asks of the store: claim, renew, finish, fail, hand back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from pydantic import ValidationError

from sigmafarm_common.job_warnings import bounded
from sigmafarm_common.records import ModelCard, WorkerInfo
from sigmafarm_common.settings import RenderRequest
from sigmafarm_common.states import JobState, Outcome
from sigmafarm_common.store import refusals
from sigmafarm_common.store.ids import new_token
from sigmafarm_common.store.redis.connection import guarded
from sigmafarm_common.store.redis.keyspace import JOBS_PER_CALL, Part, chunks, in_ms
from sigmafarm_common.store.redis.stored_records import source_from
from sigmafarm_common.store.values import (
    LONGEST_BACK_OFF_MS,
    Beat,
    Claim,
    DropReason,
    Fence,
    Output,
    Try,
    losses_to_be_alone,
)


class Working(Part):
    """A worker's part."""

    @guarded
    def register_models(self, cards: Iterable[ModelCard]) -> None:
        records = {card.name: card.model_dump_json() for card in cards}
        if records:
            self._redis.tell("hset", self._redis.key("models"), mapping=records)

    def claim(self, job_id: str, worker_id: str) -> Claim | None:
        # The token is made out here, so that a second try after a lost reply is known for the first.
        return self._claim(job_id, worker_id, new_token())

    @guarded
    def _claim(self, job_id: str, worker_id: str, token: str) -> Claim | None:
        alone_from = losses_to_be_alone(self._redis.config.max_losses)
        answer = self._redis.run("claim", job_id, worker_id, in_ms(self._redis.config.lease_s), token, alone_from)
        if answer[0] == "not alone":
            raise refusals.not_alone(job_id, worker_id, answer[1])
        if len(answer) == 1:
            return None
        number, attempts, losses, record, *source = answer
        fence = Fence(number, token)
        try:
            request = RenderRequest.model_validate_json(record or "")
        except ValidationError as error:
            message = f"its record was changed from outside and is no request any more: {error.errors()[0]['msg']}"
            self.fail(job_id, fence, code="spoiled_record", message=message, retryable=False)
            return None
        is_alone = losses >= alone_from
        return Claim(job_id, job_id.rpartition("-")[0], fence, request, attempts, losses, is_alone, source_from(source))

    @guarded
    def renew(self, worker: WorkerInfo, beats: Sequence[Beat]) -> dict[Try, DropReason]:
        record = worker.model_dump_json(exclude={"started_ms", "seen_ms"})
        lease_ms, drop = in_ms(self._redis.config.lease_s), dict[Try, DropReason]()
        for piece in [*chunks(beats, JOBS_PER_CALL)] or [[]]:
            said = [value for b in piece for value in (b.job_id, str(b.fence), b.step, int(b.has_moved))]
            drop |= _reasons(self._redis.run("renew", worker.id, record, lease_ms, *said))
        return drop

    @guarded
    def drops(self, tries: Sequence[Try]) -> dict[Try, DropReason]:
        said = [value for job_id, fence in tries for value in (job_id, str(fence))]
        return _reasons(self._redis.run("drops", *said)) if said else {}

    @guarded
    def finish(self, job_id: str, fence: Fence, output: Output) -> bool:
        what = (output.image_key, output.sha256, output.size_bytes, output.upload_ms, output.fingerprint)
        warnings = bounded(output.warnings)
        told = json.dumps([each.model_dump() for each in warnings]) if warnings else ""
        codes = (each.code for each in warnings)
        return bool(self._redis.run("finish", job_id, str(fence), *what, told, output.reused_from, *codes))

    @guarded
    def fail(self, job_id: str, fence: Fence, *, code: str, message: str, retryable: bool) -> JobState | None:
        first_ms = in_ms(self._redis.config.retry_delay_s)
        limits = (self._redis.config.max_attempts, first_ms, max(first_ms, LONGEST_BACK_OFF_MS))
        state = self._redis.run("fail", job_id, str(fence), code, message, int(retryable), *limits)
        return JobState(state) if state else None

    @guarded
    def release(self, job_id: str, fence: Fence, *, outcome: Outcome = Outcome.RELEASED, why: str = "") -> bool:
        return bool(self._redis.run("release", job_id, str(fence), outcome, why))

    @guarded
    def release_worker(self, worker_id: str) -> list[str]:
        return self._release_held(worker_id, has_died=True)

    @guarded
    def forget_worker(self, worker_id: str) -> None:
        self._release_held(worker_id, has_died=False)

    @guarded
    def is_drained(self, worker_id: str) -> bool:
        return bool(self._redis.ask("sismember", self._redis.key("draining"), worker_id))

    def _release_held(self, worker_id: str, *, has_died: bool) -> list[str]:
        released, left = list[str](), 1
        while left:
            left, *jobs = self._redis.run(
                "release_worker", worker_id, self._redis.config.max_losses, int(has_died), JOBS_PER_CALL
            )
            released += jobs
        return released


def _reasons(answer: Sequence[str]) -> dict[Try, DropReason]:
    """Return what a script answers as job, fence, reason, one after the other."""
    told = zip(answer[::3], answer[1::3], answer[2::3], strict=True)
    return {Try(job_id, Fence.parse(fence)): DropReason(reason) for job_id, fence, reason in told}
