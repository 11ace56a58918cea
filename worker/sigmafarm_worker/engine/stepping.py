"""One step of one lane, and what becomes of its jobs: the engine's work, in whatever thread steps.

    step():  admit waiting requests into free slots of a lane  ->  one UNet pass over all rows of the lane
             ->  guidance and samplers, vectorised  ->  retire finished slots (VAE decode, hand the pixels over)

Invariant, between two steps: whom batching has inside a lane are that lane's slots, and no future of theirs is done.

What goes wrong ends the jobs that took part in it, and no others: who joins, alone if not together; who shared a pass;
who was decoded together; whose callback it was. Around a whole step stands a last net, for what none of these guards
foresaw: it gives up the lane and goes on with the others. Only a broken device ends the loop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future

import torch
from torch import Tensor

from sigmafarm_common.clock import Clock
from sigmafarm_common.errors import Dropped, EngineStopped, RenderError
from sigmafarm_worker.drawing_engine import EngineStats, Rendered
from sigmafarm_worker.engine.admission import Demand, RowCosts, joining
from sigmafarm_worker.engine.attention import CudaStopwatch
from sigmafarm_worker.engine.batching import Batching
from sigmafarm_worker.engine.encoding import Encoding
from sigmafarm_worker.engine.failures import NoRoomForOneRow, free_cached, is_out_of_memory, render_error
from sigmafarm_worker.engine.frugal_pass import FrugalPass
from sigmafarm_worker.engine.graph_pass import GraphPass
from sigmafarm_worker.engine.graphs import CudaGraphs
from sigmafarm_worker.engine.handing_over import begin, end
from sigmafarm_worker.engine.lane import Lane
from sigmafarm_worker.engine.memory import MAX_DECODED_AT_ONCE
from sigmafarm_worker.engine.pace import Pace
from sigmafarm_worker.engine.retiring import Retiring
from sigmafarm_worker.engine.sizes import Sizes, Stage
from sigmafarm_worker.engine.slot import LaneKey, Slot
from sigmafarm_worker.engine.stats import Counts
from sigmafarm_worker.engine.unet_pass import EagerPass, UnetPass
from sigmafarm_worker.host_memory import SpareMemory
from sigmafarm_worker.models import Model
from sigmafarm_worker.telling import first_line


class Stepper:
    """The lanes of an engine and the jobs in them. Not safe for threads: but for `stats` and `capacity`, all calls come
    from the one that steps."""

    def __init__(self, models: Mapping[str, Model], max_images: int, clock: Clock, *, is_compiled: bool = False):
        self.models, self.max_images, self.clock = models, max_images, clock
        self.device = next(iter(models.values())).device
        self.unet_passes: dict[str, UnetPass] = make_passes(models, self.device, clock, is_compiled=is_compiled)
        self.counts = Counts()
        #: Monotonic seconds of the last sign of life.
        self.last_beat_s = clock.monotonic_s()
        self.lanes: dict[LaneKey, Lane] = {}
        self.batching: Batching[LaneKey, Slot] = Batching(self._num_slots)
        self.row_costs: RowCosts[LaneKey] = RowCosts()
        self._pace = Pace(self.device)
        self._spare_memory = SpareMemory()
        self._sizes = Sizes(models)
        self._encoding = Encoding(self._sizes)
        self._retiring = Retiring(self._sizes, clock)

    def use_device(self) -> None:
        """Make the models' GPU the current one of this thread: streams and graphs are made on that one."""
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)

    def capacity(self, key: LaneKey) -> int:
        """Return the slots that a lane is opened with: see Engine.capacity."""
        model = self.models[key.model]
        share = model.height * model.width / (key.height * key.width)
        return max(1, int(self.max_images * min(1.0, share)))

    def stats(self) -> EngineStats:
        return self.counts.stats(
            num_occupied=self.batching.num_inside,
            num_waiting=self.batching.num_waiting,
            num_lanes=len(self.batching.lanes),
            num_builds=sum(p.num_builds for p in self.unet_passes.values()),
        )

    def add(self, slot: Slot) -> None:
        """Let a job wait for its lane."""
        try:
            self.batching.add(slot.key, slot)
        except Exception as error:  # the per-job guard
            end(slot, render_error(error, "taking the job in"))

    # A step

    def step(self) -> bool:
        """Move every slot of one lane one step. Return whether there was anything to do."""
        self.last_beat_s = began_s = self.clock.monotonic_s()
        key = self.batching.next_lane()
        self._spare_memory.note(began_s, is_idle=key is None)
        if key is None:
            return False
        try:
            self._step_lane(key, began_s)
        except Exception as error:  # the last net
            self._give_up(key, render_error(error, "the step"))
        return True

    def _step_lane(self, key: LaneKey, began_s: float) -> None:
        lane = self.lanes.get(key) or self._open(key)
        if lane is None:
            return
        self._admit(lane)
        if lane.slots and self._advance(lane):
            self._count(lane, began_s)
            self._report(lane)
            self._retire(lane)
        self._close(key)

    def _open(self, key: LaneKey) -> Lane | None:
        """Open a lane with all its slots, or else with one. If there is no memory for that either, the job that waits
        first fails, and there is no lane."""
        num_slots = self.capacity(key)
        try:
            lane = self._opened(key, num_slots)
        except Exception as error:  # the per-job guard: nobody is in the lane yet
            self._give_up(key, self._verdict(error, key, Stage.OPENING, was_alone=True))
            return None
        self._sizes.note_done(key, Stage.OPENING)
        self.lanes[key] = lane
        return lane

    def _opened(self, key: LaneKey, num_slots: int) -> Lane:
        try:
            return Lane(self.models[key.model], key, num_slots, self.unet_passes[key.model])
        except Exception as error:
            if num_slots == 1 or not is_out_of_memory(error):
                raise
            free_cached(error)
        return self._opened(key, 1)

    def _num_slots(self, key: LaneKey) -> int:
        """Return the slots that a lane has, or would be opened with."""
        lane = self.lanes.get(key)
        return lane.capacity if lane else self.capacity(key)

    def _admit(self, lane: Lane) -> None:
        """Let waiting requests into the lane's free slots. Text is encoded for all of them at once."""
        begun: list[Slot] = []
        for slot in self.batching.admit(lane.key, lambda waiting: self._chosen(lane, waiting)):
            if begin(slot):
                begun.append(slot)
            else:
                self.batching.remove(slot.key, [slot])
        begun = self._encoded(lane, begun)
        if begun:
            self._join(lane, begun)

    def _chosen(self, lane: Lane, waiting: Sequence[Slot]) -> list[int]:
        """Return the places of those who join now, among those who wait: see admission.py."""
        inside = [Demand(slot.most_rows, slot.ends_at - lane.num_passes) for slot in lane.slots]
        asked = [Demand(slot.most_rows, slot.table.num_calls) for slot in waiting]
        enough_rows = self.row_costs.enough_rows(lane.key, len(waiting))
        return joining(inside, asked, num_slots=lane.capacity, enough_rows=enough_rows)

    def _encoded(self, lane: Lane, joining: list[Slot]) -> list[Slot]:
        """Encode the pictures that jobs bring. Return those who may join: of the others, it has failed."""
        failed = dict(self._encoding.failures(lane.model, joining, self._num_at_once(lane.key)))
        for slot, error in failed.items():
            self._fail([slot], error)
        return [slot for slot in joining if slot not in failed]

    def _num_at_once(self, key: LaneKey) -> int:
        """Return how many pictures of a lane the VAE takes at once."""
        return max(1, MAX_DECODED_AT_ONCE * self.capacity(key) // self.max_images)

    def _join(self, lane: Lane, joining: list[Slot]) -> None:
        """Let jobs in, one by one if they cannot join together: then only those fail that are to blame."""
        failed = self._joined(lane, joining)
        if failed is None:
            return
        if len(joining) == 1:
            self._fail(joining, failed)
            return
        for slot in joining:
            self._join(lane, [slot])

    def _joined(self, lane: Lane, joining: list[Slot]) -> Exception | None:
        """Let jobs in together. Return why not, if not: then none is in."""
        prompts = [s.prompt for s in joining] + [s.negative for s in joining if s.negative is not None]
        try:
            encoded = lane.model.prompts.embeddings(prompts)
            uncond = iter(encoded[len(joining) :])
            lane.join(joining, encoded[: len(joining)], [next(uncond) if s.negative else None for s in joining])
        except Exception as error:  # the per-job guard: those inside go on
            return self._verdict(error, lane.key, Stage.JOINING, was_alone=len(joining) == 1)
        now_s = self.clock.monotonic_s()
        for slot in joining:
            slot.joined_s = now_s
        return None

    def _advance(self, lane: Lane) -> bool:
        """Make the pass. Return whether it succeeded; if not, its jobs have failed and the lane is no more."""
        self.counts.expect_step(num_rows=2 * len(lane.slots), num_pixels=lane.key.height * lane.key.width)
        began_s = self.clock.monotonic_s()
        try:
            lane.advance()
            self._sizes.note_done(lane.key, Stage.PASSING)
            self._pace.tick()
            seconds = self.clock.monotonic_s() - began_s
            self.row_costs.note(lane.key, lane.num_rows, seconds, is_new=lane.has_new_layout)
        except Exception as error:  # the per-job guard, here of all jobs that shared the pass
            was_alone = isinstance(error, NoRoomForOneRow)
            self._give_up(lane.key, self._verdict(error, lane.key, Stage.PASSING, was_alone=was_alone))
            return False
        return True

    def _count(self, lane: Lane, began_s: float) -> None:
        self.last_beat_s = self.clock.monotonic_s()
        self.counts.add_step(
            num_rows=lane.num_rows,
            num_padded_rows=lane.num_padded_rows,
            num_pixels=lane.key.height * lane.key.width,
            num_slots=len(lane.slots),
            capacity=lane.capacity,
            is_loaded=self._is_loaded(lane),
            seconds=self.last_beat_s - began_s,
        )

    def _is_loaded(self, lane: Lane) -> bool:
        """Whether requests wait, and not for less company in this lane."""
        is_held_back = len(lane.slots) < lane.capacity and bool(self.batching.waiting(lane.key))
        return self.batching.num_waiting > 0 and not is_held_back

    def _report(self, lane: Lane) -> None:
        failed: list[tuple[Slot, Exception]] = []
        for slot in lane.slots:
            try:
                if slot.on_step is not None:
                    slot.on_step(lane.num_passes - slot.joined_at, slot.table.num_calls)
            except KeyboardInterrupt:
                raise
            except Exception as error:  # the per-job guard: a caller's callback is the caller's affair
                failed.append((slot, error))
            except BaseException as error:  # SystemExit and the like would end this thread, and every job with it
                failed.append((slot, RenderError(f"its on_step raised {type(error).__name__}: {first_line(error)}")))
        for slot, error in failed:
            self._take_out(lane, [slot])
            self._fail([slot], error)

    def _retire(self, lane: Lane) -> None:
        """Decode and hand over the slots that made their last step. Device-to-host syncs, once per finished picture."""
        finished = lane.finished()
        if not finished:
            return
        left = list(finished)
        at_once = self._num_at_once(lane.key)
        try:
            x_BCHW = lane.latents(finished)
            drift_B = lane.drift(finished, x_BCHW)
            self._take_out(lane, finished)
            for slot, outcome in self._retiring.pictures(lane.model, finished, x_BCHW, drift_B, at_once):
                self._finish(slot, outcome)
                left.remove(slot)
        except Exception as error:  # the per-job guard: those that are drawn on have no part in this
            self._take_out(lane, [slot for slot in left if slot in lane.slots])
            self._fail(left, self._verdict(error, lane.key, Stage.DECODING, was_alone=False))
        self.last_beat_s = self.clock.monotonic_s()

    def _finish(self, slot: Slot, outcome: Rendered | Exception | Slot) -> None:
        if isinstance(outcome, Exception):
            self._fail([slot], outcome)
            return
        if isinstance(outcome, Slot):  # it is drawn again, by another slot and for the same future
            self.add(outcome)
            self.batching.remove(slot.key, [slot])
            return
        self.counts.num_done += 1
        self._let_go(slot, outcome)
        self.last_beat_s = self.clock.monotonic_s()

    def _close(self, key: LaneKey) -> None:
        """Free the tensors of a lane without work."""
        if key not in self.batching.lanes:
            self.lanes.pop(key, None)

    # Ends that are not pictures

    def drop(self, future: Future[Rendered], reason: str) -> None:
        """End a job with Dropped(reason), wherever it is. Does nothing once it is done."""
        for slot in self.batching.items():
            if slot.future is not future:
                continue
            try:
                lane = self.lanes.get(slot.key)
                if lane is not None and slot in lane.slots:
                    self._take_out(lane, [slot])
                self._fail([slot], Dropped(reason))
                self._close(slot.key)
            except Exception as error:  # the last net, as around a step
                self._give_up(slot.key, render_error(error, "dropping a job"))

    def end_all(self, reason: str) -> None:
        """End whatever is left with EngineStopped. Raises nothing."""
        self.lanes.clear()
        num_inside = self.batching.num_inside
        for n, slot in enumerate(self.batching.clear()):
            self.counts.num_failed += 1
            end(slot, EngineStopped(f"{reason}: submit the job again", was_drawn=n < num_inside))

    def _take_out(self, lane: Lane, slots: list[Slot]) -> None:
        """Take slots out of their lane. If that fails, the places of the others mean nothing any more: they fail."""
        try:
            lane.leave(slots)
        except Exception as error:
            if self.lanes.get(lane.key) is lane:
                del self.lanes[lane.key]
            others = [slot for slot in lane.slots if slot not in slots]
            lane.slots = []
            self._fail(others, render_error(error, "leaving the lane"))

    def _give_up(self, key: LaneKey, error: Exception) -> None:
        """Fail everybody in a lane and forget its tensors; those who wait open it anew. If nobody was inside, the first
        who waits is the one that it failed for."""
        self.lanes.pop(key, None)
        self._fail(self.batching.inside(key) or self.batching.waiting(key)[:1], error)
        self.batching.remove(key, ())

    def _fail(self, slots: list[Slot], error: Exception) -> None:
        for slot in slots:
            self.counts.num_failed += 1
            self._let_go(slot, error)

    def _let_go(self, slot: Slot, outcome: Rendered | Exception) -> None:
        try:
            self.batching.remove(slot.key, [slot])
        finally:
            end(slot, outcome)

    def _verdict(self, error: Exception, key: LaneKey, stage: Stage, *, was_alone: bool) -> Exception:
        """Return the farm's error for what a stage raised; see Sizes.shortage."""
        if not is_out_of_memory(error):
            return render_error(error, stage.value)
        free_cached(error)
        return self._sizes.shortage(key, stage, error, was_alone=was_alone)

    # Looks between two steps

    def latents_of(self, future: Future[Rendered]) -> Tensor | None:
        """Return a copy of a job's latents [C, H, W] on the host, None outside a lane. Device-to-host sync."""
        for lane in self.lanes.values():
            for slot in lane.slots:
                if slot.future is future:
                    return lane.latents([slot])[0].cpu()
        return None

    def foreseen(self) -> list[tuple[list[tuple[Slot, int]], Tensor]]:
        """Return, lane by lane, the slots with the calls that they made, and where they are heading."""
        begun = [lane for lane in self.lanes.values() if lane.slots and lane.num_passes]
        return [([(s, lane.num_passes - s.joined_at) for s in lane.slots], lane.foreseen()) for lane in begun]


def make_passes(
    models: Mapping[str, Model], device: torch.device, clock: Clock, *, is_compiled: bool = False
) -> dict[str, UnetPass]:
    """Return the passes that suit the device. All models' graphs share their memory."""
    given = {"is_compiled": is_compiled}
    if device.type != "cuda":
        return {name: FrugalPass(EagerPass(model, **given), clock) for name, model in models.items()}
    graphs, stopwatch = CudaGraphs(device), CudaStopwatch()
    return {name: FrugalPass(GraphPass(model, graphs, stopwatch, **given), clock) for name, model in models.items()}
