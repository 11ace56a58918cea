"""Everything that can happen to a job in a worker: claim, fetch what it begins with, draw, upload, finish; or let go,
hand back, fail."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from sigmafarm_common.clock import Clock
from sigmafarm_common.errors import (
    Dropped,
    EngineStopped,
    FarmUnavailable,
    NotAlone,
    NotFound,
    RenderError,
    SigmafarmError,
)
from sigmafarm_common.objects.protocol import ObjectStore
from sigmafarm_common.picture_keys import image_key
from sigmafarm_common.settings import OutputFormat, RenderRequest
from sigmafarm_common.states import Outcome
from sigmafarm_common.store.protocol import WorkerSide
from sigmafarm_common.store.values import Claim, Output, Source
from sigmafarm_common.tracing import Tracing
from sigmafarm_worker.service.desk import Desk, HeldJob, Phase
from sigmafarm_worker.service.images import encode
from sigmafarm_worker.service.inlet import Inlet
from sigmafarm_worker.service.outlet import Outlet, Undelivered
from sigmafarm_worker.service.patience import patiently
from sigmafarm_worker.service.streak import Streak

#: The media type of each file format.
CONTENT_TYPES = {OutputFormat.PNG: "image/png", OutputFormat.JPEG: "image/jpeg", OutputFormat.WEBP: "image/webp"}
#: Longest error text that a job's record keeps.
MAX_ERROR_CHARS = 2000
#: Pause before a job that runs alone is claimed again while others are still held; short against a lease.
ALONE_PAUSE_S = 0.25
#: A picture that was stored so many seconds before its job is told may have been removed meanwhile.
UNSURE_S = 0.5

_log = structlog.get_logger("sigmafarm.worker")


class Renderer:
    """Draws one job per call of `render`; many threads call it at once."""

    def __init__(
        self,
        worker_id: str,
        store: WorkerSide,
        objects: ObjectStore,
        desk: Desk,
        clock: Clock,
        *,
        streak: Streak,
        outlet: Outlet,
        on_engine_end: Callable[[str], object] = str,
        tracing: Tracing | None = None,
    ):
        self._worker_id, self._store, self._objects = worker_id, store, objects
        self._desk, self._clock, self._streak, self._outlet = desk, clock, streak, outlet
        self._tracing = tracing or Tracing()
        self._inlet = Inlet(store, objects, outlet, clock)
        self._on_engine_end = on_engine_end
        #: Whether the engine has ended by itself: nothing more is begun.
        self._has_ended = False

    def render(self, job_id: str) -> None:
        """Answer one wake-up call. Never raises: whatever happens to the job is recorded, or its lease runs out."""
        trace_of, batch_id = self._store.trace_of, str(job_id).rpartition("-")[0]
        with self._tracing.below(lambda: trace_of(batch_id)), self._tracing.span("job", id=str(job_id)[:80]):
            self._answer(job_id)

    def _answer(self, job_id: str) -> None:
        if self._outlet.is_closed or self._has_ended:
            why = "pictures cannot be stored now" if self._outlet.is_closed else "the engine has ended"
            _log.info(f"call dropped, {why}", job=str(job_id)[:80])
            return
        claim = self._claim(job_id)
        if claim is None:
            return
        held, is_done = self._desk.hold(claim), False
        try:
            is_done = self._draw_and_store(held)
        except (Undelivered, FarmUnavailable) as error:
            self._give_back(held, why=str(error))
        except Dropped:
            self._give_back(held)
        except EngineStopped as error:
            self._leave(held, error)
        except SigmafarmError as error:
            self._end_try(held, error)
        except Exception as error:  # the per-job guard: one job's fault must not end the thread or its neighbours
            _log.exception("job failed in an unforeseen way", job=job_id)
            why = f"unforeseen {type(error).__name__}: {error}; the worker's log has more"
            self._end_try(held, RenderError(why))
        finally:
            self._desk.let_go(held, is_done=is_done)

    def _claim(self, job_id: str) -> Claim | None:
        """Claim a job. None for a duplicate, cancelled or ghost call, and while the store is away: then the job is
        dispatched again later."""
        try:
            with self._tracing.span("claim"):
                claim = self._claim_when_alone(job_id)
        except FarmUnavailable as error:
            _log.warning("call dropped, the store is away", job=job_id, error=str(error))
            return None
        if claim is None:
            _log.info(
                "call dropped: a duplicate, a ghost, an equal one is drawn, or its batch is paused or cancelled",
                job=str(job_id)[:80],
            )
        return claim

    def _claim_when_alone(self, job_id: str) -> Claim | None:
        """Claim a job; one that runs alone, once the desk is empty. None too if the desk is to be cleared before."""
        has_said = False
        while True:
            try:
                return self._store.claim(job_id, self._worker_id)
            except NotAlone as error:
                if self._desk.is_handing_back or self._outlet.is_closed:
                    return None
                if not has_said:
                    _log.info("job waits to run alone", job=job_id, reason=str(error))
                has_said = True
            self._clock.wait(threading.Event(), ALONE_PAUSE_S)

    def _draw_and_store(self, held: HeldJob) -> bool:
        if held.claim.source and (data := self._inlet.picture_from(held, held.claim.source)) is not None:
            return self._store_copy(held, held.claim.source, data)
        num_steps = held.claim.request.num_inference_steps or 0
        with self._tracing.span("steps", num_steps=num_steps, fence=held.claim.fence.number):
            rendered = self._desk.draw(held, self._inlet.pictures_of(held))
        self._streak.note_success()
        began_s = self._clock.monotonic_s()
        data = encode(
            rendered.pixels,
            _format_of(rendered.request),
            rendered.request,
            rendered.request.model or "",
            rendered.fingerprint,
            rendered.warnings,
            rendered.inside,
        )
        known = {"fingerprint": rendered.fingerprint, "warnings": rendered.warnings}
        return self._deliver(held, _format_of(rendered.request), data, began_s, known)

    def _store_copy(self, held: HeldJob, source: Source, data: bytes) -> bool:
        """Store the picture of an equal job as this one's."""
        known = {"fingerprint": source.fingerprint, "warnings": source.warnings, "reused_from": source.job_id}
        return self._deliver(held, _format_of(held.claim.request), data, self._clock.monotonic_s(), known)

    def _deliver(
        self, held: HeldJob, file_format: OutputFormat, data: bytes, began_s: float, known: Mapping[str, Any]
    ) -> bool:
        """Store a picture and record it; one that came too late is removed. Return whether it is the job's."""
        held.phase = Phase.STORING
        key = image_key(held.claim.tried, file_format)

        def put() -> None:
            self._objects.put(key, data, CONTENT_TYPES[file_format])

        with self._tracing.span("upload", bytes=len(data)):
            self._outlet.deliver(held, put)
        stored_s = self._clock.monotonic_s()
        sha256, upload_ms = hashlib.sha256(data).hexdigest(), round(1000 * (stored_s - began_s))
        output = Output(key, sha256, len(data), upload_ms, **known)

        def finish() -> bool:
            if self._clock.monotonic_s() - stored_s > UNSURE_S:
                self._outlet.deliver(held, lambda: self._put_if_gone(key, put))
            return self._store.finish(held.claim.job_id, held.claim.fence, output)

        with self._tracing.span("finish"):
            is_ours = patiently(finish, self._clock)
        if not is_ours:
            self._say("finish refused: another has the job; our picture is removed", held.claim)
            patiently(lambda: self._objects.delete(key), self._clock)
        return is_ours

    def _put_if_gone(self, key: str, put: Callable[[], None]) -> None:
        """Store a picture again that was removed before its job heard of it. A cancel does that; Redis may lose the
        cancel with its newest writes, and take the picture after all."""
        try:
            self._objects.stat(key)
        except NotFound:
            put()

    def give_back_stuck(self) -> None:
        """Hand back the jobs whose threads hang in a call to the storage; what they still send counts for nothing."""
        why = "its picture was still being stored when its worker ended"
        if self._outlet.reason:
            why += f": {self._outlet.reason}"
        for held in self._desk.held():
            if held.phase is Phase.STORING:
                try:
                    self._release(held, why)
                except FarmUnavailable:
                    return  # the supervisor tells the store later

    def _end_try(self, held: HeldJob, error: SigmafarmError) -> None:
        """Record an error. Only one of drawing is a verdict about the job: one of delivery says nothing of it."""
        if held.phase is Phase.STORING:
            self._give_back(held, why=f"its picture could not be delivered: {error}")
        else:
            held.phase = Phase.TELLING
            self._fail(held.claim, error)

    def _leave(self, held: HeldJob, error: EngineStopped) -> None:
        """Let go of a job whose engine has ended under it. That is no try, for it says nothing of the job. One that was
        drawn then may be what ended it: it stays this worker's, and is taken back as from one that has died."""
        if not self._has_ended:
            self._has_ended = True
            self._on_engine_end(str(error))
        if error.was_drawn:
            self._say("the engine ended while it drew the job", held.claim, error=str(error))
        else:
            self._give_back(held, why=str(error))

    def _give_back(self, held: HeldJob, why: str = "") -> None:
        """Queue a job again that left us unfinished; a cancelled or lost one is no longer ours to touch."""
        outcome = held.drop_outcome or Outcome.RELEASED
        if outcome not in (Outcome.RELEASED, Outcome.PAUSED):
            return
        self._say("job is handed back", held.claim, outcome=outcome, why=why)
        held.phase = Phase.TELLING
        self._record(lambda: self._release(held, why), held.claim)

    def _release(self, held: HeldJob, why: str) -> None:
        claim, outcome = held.claim, held.drop_outcome or Outcome.RELEASED
        self._store.release(claim.job_id, claim.fence, outcome=outcome, why=why[:MAX_ERROR_CHARS])

    def _fail(self, claim: Claim, error: SigmafarmError) -> None:
        self._say("job failed", claim, code=error.code, error=str(error))
        message = str(error)[:MAX_ERROR_CHARS]
        self._record(
            lambda: self._store.fail(
                claim.job_id, claim.fence, code=error.code, message=message, retryable=error.retryable
            ),
            claim,
        )
        self._streak.note_failure(claim.job_id, error)

    def _record(self, call: Callable[[], object], claim: Claim) -> None:
        try:
            patiently(call, self._clock)
        except FarmUnavailable as error:
            self._say("the store is away for too long: the job's lease runs out", claim, error=str(error))

    def _say(self, what: str, claim: Claim, **fields: object) -> None:
        _log.warning(what, job=claim.job_id, batch=claim.batch_id, fence=str(claim.fence), **fields)


def _format_of(request: RenderRequest) -> OutputFormat:
    return OutputFormat(request.output_format or OutputFormat.PNG)
