"""The keeper: dispatches queued jobs to free workers and takes back what nobody holds any more. One leads at a time.

It dispatches as soon as the store's bell rings: jobs came, or a worker has room for another. All else, and what no bell
told of, has its rounds.

A keeper runs in every supervisor and every API process; a lease in the store elects the leader, so that any of them may
die. Nothing is lost when one dies between choosing a job and publishing its call: an unclaimed call is forgotten after
unclaimed_s and the job dispatched again.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import ParamSpec, TypeVar

from sigmafarm_common.celery_app import Publish
from sigmafarm_common.clock import Clock
from sigmafarm_common.config import Config
from sigmafarm_common.errors import Conflict, FarmUnavailable, NotFound, SpoiledRecord
from sigmafarm_common.loop import Loop
from sigmafarm_common.store.protocol import KeeperSide
from sigmafarm_common.store.values import Dispatched, TakenBack

#: The leader's lease, in rounds; at least LEAD_MIN_S.
LEAD_ROUNDS = 6
LEAD_MIN_S = 2.0
#: Rounds without a leader that are no sign of an outage.
GAP_ROUNDS = 4
#: Of the loop's rounds, each so many'th discards dead submits and forgets what is old.
HOUSEKEEPING_ROUNDS = 4
#: The longest wait for the bell at once, and the pause after it rang: a busy farm rings at every picture.
LONGEST_WAIT_S, BELL_PAUSE_S = 0.5, 0.01
#: After a dispatch, the store has so many times that time for others: it looks at every worker, and serves all of them.
BELL_REST = 3

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Round:
    """What one round of the leader did."""

    taken_back: TakenBack
    dispatched: tuple[Dispatched, ...]
    #: Batches that are gone for good.
    forgotten: tuple[str, ...] = ()
    #: Parts that failed, with what they said.
    failed: tuple[str, ...] = ()


class Parts:
    """Does the parts of a round, each with a guard of its own. Only a service that is away ends the round."""

    def __init__(self) -> None:
        self.failed: list[str] = []

    def do(self, name: str, part: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R | None:
        """Return what a part gives, None for one that failed. Raises FarmUnavailable."""
        try:
            return part(*args, **kwargs)
        except Exception as error:
            if isinstance(error, FarmUnavailable) and not isinstance(error, SpoiledRecord):
                raise
            self.failed.append(f"{name}: {error}")
            return None


class Keeper(Loop):
    """Dispatch and take-back, every tick_s. `run_once` returns None while another keeper leads."""

    def __init__(self, config: Config, store: KeeperSide, publish: Publish, *, clock: Clock | None = None):
        super().__init__("keeper", config.tick_s, clock)
        self.id = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._config, self._store, self._publish = config, store, publish
        #: Leases are judged from this moment on. After the server was away, workers first get a whole lease to renew.
        self._judge_from_s: float | None = None
        self.is_leader = False
        self._num_rounds = 0
        self._rang = False
        #: What failed in the last round, so that the same is logged once.
        self._last_error = ""

    def run_once(self, *, keeps_house: bool = True) -> Round | None:
        """Do one round as the leader: take back, go on with cancels, discard dead submits, put back what indexes lost,
        dispatch and publish; last, forget what is old. A part that fails stops no other, and is told in the store.
        Dead submits and what is old can wait for a round that `keeps_house`."""
        asked_s, has_led = self.clock.monotonic_s(), self.is_leader
        self.is_leader = self._store.lead(self.id, max(LEAD_ROUNDS * self.tick_s, LEAD_MIN_S))
        if not self.is_leader:
            return None
        self._note_outages(asked_s, has_led=has_led)
        parts = Parts()
        taken_back = parts.do("take back", self._take_back) or TakenBack()
        for batch_id in parts.do("list cancels", self._store.open_cancels) or ():
            parts.do(f"go on with the cancel of {batch_id}", self._cancel, batch_id)
        for batch_id in (parts.do("list dead submits", self._store.stale_batches) if keeps_house else None) or ():
            parts.do(f"discard {batch_id}", self._discard, batch_id)
        if mended := parts.do("mend", self._store.mend):
            self._log.warning("open batches had lost their place in shared indexes, it is put back", num=mended)
        dispatched = tuple(parts.do("dispatch", self._store.dispatch) or ())
        parts.do("publish", self._publish, dispatched)
        forgotten = tuple((parts.do("forget", self._store.forget_batches) if keeps_house else None) or ())
        if forgotten:
            self._log.info("old batches forgotten", num_batches=len(forgotten))
        parts.do("note the round", self._note, parts)
        return Round(taken_back, dispatched, forgotten, tuple(parts.failed))

    def next_round(self) -> Round | None:
        """Do one round of the loop."""
        self._num_rounds += 1
        return self.run_once(keeps_house=self._num_rounds % HOUSEKEEPING_ROUNDS == 1)

    def pause(self) -> None:
        """Wait for the next round. As the leader, dispatch meanwhile whenever the bell rings."""
        left_s = self.tick_s
        while self.is_leader and not self._stopped.is_set() and left_s > 0:
            begun_s, wait_s = self.clock.monotonic_s(), min(left_s, LONGEST_WAIT_S)
            self._rang = False
            if not self._guarded(partial(self._heed_bell, wait_s)):
                break
            left_s -= max(self.clock.monotonic_s() - begun_s, 0.0 if self._rang else wait_s)
        self.clock.wait(self._stopped, max(0.0, left_s))

    def _heed_bell(self, timeout_s: float) -> None:
        self._rang = self._store.wait_for_bell(timeout_s)
        if self._rang and not self._stopped.is_set():
            begun_s = self.clock.monotonic_s()
            dispatched = self._store.dispatch()
            pause_s = max(BELL_PAUSE_S, BELL_REST * (self.clock.monotonic_s() - begun_s))
            self._publish(dispatched)
            self.clock.wait(self._stopped, min(pause_s, self.tick_s))

    def on_stop(self) -> None:
        if self.is_leader:
            with suppress(FarmUnavailable):
                self._store.ring_bell()

    def _take_back(self) -> TakenBack:
        taken_back = self._store.take_back(judge_leases=self._judges_leases())
        self._tell(taken_back)
        return taken_back

    def _cancel(self, batch_id: str) -> None:
        with suppress(NotFound):  # its record is gone, and its name now too
            self._store.cancel_batch(batch_id)

    def _discard(self, batch_id: str) -> None:
        with suppress(Conflict):  # sealed since then: it stays
            self._store.discard_batch(batch_id)

    def _note(self, parts: Parts) -> None:
        """Tell the store how the round went, and the log when that is news."""
        said = "; ".join(parts.failed)
        if said and said != self._last_error:
            self._log.error("parts of the keeper's round failed, the others went on", failed=said)
        self._last_error = said
        self._store.note_round(said)

    def on_away(self) -> None:
        self.is_leader = False
        self._judge_from_s = self.clock.monotonic_s() + self._config.lease_s

    def stop(self) -> None:
        """Stop, and let another keeper lead at once."""
        super().stop()
        if self.is_leader:
            self.is_leader = False
            self._store.resign(self.id)

    def _note_outages(self, asked_s: float, *, has_led: bool) -> None:
        """Put the judgement off after an answer that took long, at the start beside a server that is just up, and where
        nobody has led for half a lease: the store may have been away from everybody, unnoticed by us, for so long that
        leases have run out which are renewed every quarter of one."""
        now_s = self.clock.monotonic_s()
        is_first_round = self._judge_from_s is None
        is_server_young = is_first_round and self._store.server_uptime_s() < self._config.lease_s
        gap_s = 0.0 if has_led else self._store.round_age_s() or 0.0
        has_gap = gap_s > max(self._config.lease_s / 2, GAP_ROUNDS * self.tick_s)
        if now_s - asked_s > self._config.lease_s / 4 or is_server_young or has_gap:
            self._judge_from_s = now_s + self._config.lease_s
        elif is_first_round:
            self._judge_from_s = now_s

    def _judges_leases(self) -> bool:
        return self._judge_from_s is not None and self.clock.monotonic_s() >= self._judge_from_s

    def _tell(self, taken_back: TakenBack) -> None:
        for job_id in taken_back.lost:
            self._log.warning("lease ran out, job taken back", job=job_id)
        for job_id in taken_back.unclaimed:
            self._log.warning("nobody claimed the job in time, it is dispatched again", job=job_id)
