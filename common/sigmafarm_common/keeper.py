"""The keeper: dispatches queued jobs to free workers and takes back what nobody holds any more. One leads at a time.

A keeper runs in every supervisor and every API process; a lease in the store elects the leader, so that any of them may
die. Nothing is lost when one dies between choosing a job and publishing its call: an unclaimed call is forgotten after
unclaimed_s and the job dispatched again.
"""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import dataclass

from sigmafarm_common.celery_app import Publish
from sigmafarm_common.clock import Clock
from sigmafarm_common.config import Config
from sigmafarm_common.loop import Loop
from sigmafarm_common.store.protocol import Dispatched, Store, TakenBack

#: The leader's lease, in rounds; at least LEAD_MIN_S.
LEAD_ROUNDS = 6
LEAD_MIN_S = 2.0


@dataclass(frozen=True)
class Round:
    """What one round of the leader did."""

    taken_back: TakenBack
    dispatched: tuple[Dispatched, ...]
    #: Batches that are gone for good.
    forgotten: tuple[str, ...] = ()


class Keeper(Loop):
    """Dispatch and take-back, every tick_s. `run_once` returns None while another keeper leads."""

    def __init__(self, config: Config, store: Store, publish: Publish, *, clock: Clock | None = None):
        super().__init__("keeper", config.tick_s, clock)
        self.id = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._config, self._store, self._publish = config, store, publish
        #: Leases are judged from this moment on. After the server was away, workers first get a whole lease to renew.
        self._judge_from_s: float | None = None
        self.is_leader = False

    def run_once(self) -> Round | None:
        """Do one round as the leader: take back, then dispatch and publish; last, forget what is old."""
        asked_s = self.clock.monotonic_s()
        self.is_leader = self._store.lead(self.id, max(LEAD_ROUNDS * self.tick_s, LEAD_MIN_S))
        if not self.is_leader:
            return None
        self._note_outages(asked_s)
        taken_back = self._store.take_back(judge_leases=self._judges_leases())
        self._tell(taken_back)
        dispatched = tuple(self._store.dispatch())
        self._publish(dispatched)
        forgotten = tuple(self._store.forget_batches())
        if forgotten:
            self._log.info("old batches forgotten", num_batches=len(forgotten))
        return Round(taken_back, dispatched, forgotten)

    def on_away(self) -> None:
        self.is_leader = False
        self._judge_from_s = self.clock.monotonic_s() + self._config.lease_s

    def stop(self) -> None:
        """Stop, and let another keeper lead at once."""
        super().stop()
        if self.is_leader:
            self.is_leader = False
            self._store.resign(self.id)

    def _note_outages(self, asked_s: float) -> None:
        """Put the judgement off after an answer that took long, and at the start beside a server that is just up."""
        now_s = self.clock.monotonic_s()
        is_first_round = self._judge_from_s is None
        is_server_young = is_first_round and self._store.server_uptime_s() < self._config.lease_s
        if now_s - asked_s > self._config.lease_s / 4 or is_server_young:
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
