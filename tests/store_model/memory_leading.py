"""What the keeper asks of the memory store, under its lock: lead, dispatch, take back, forget."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sigmafarm_common.store.protocol import MAX_ERROR_CHARS, Dispatched, Rounds, TakenBack
from tests.store_model.memory_keeping import in_ms
from tests.store_model.memory_part import MemoryPart, locked


class MemoryLeading(MemoryPart):
    """The keeper's part."""

    @locked
    def lead(self, keeper_id: str, lease_s: float) -> bool:
        now_ms = self._now_ms()
        if self._leader != keeper_id and now_ms < self._leads_until_ms:
            return False
        self._leader, self._leads_until_ms = keeper_id, now_ms + in_ms(lease_s)
        return True

    @locked
    def resign(self, keeper_id: str) -> None:
        if self._leader == keeper_id:
            self._leads_until_ms = 0

    @locked
    def dispatch(self, *, limit: int = 1000) -> list[Dispatched]:
        return self._keeping.dispatch(limit)

    @locked
    def now_ms(self) -> int:
        return self._now_ms()

    @locked
    def server_uptime_s(self) -> float:
        return (self._now_ms() - self._started_ms) / 1000

    @locked
    def take_back(self, *, judge_leases: bool = True) -> TakenBack:
        return self._keeping.take_back(judge_leases)

    @locked
    def open_cancels(self) -> list[str]:
        return []  # a cancel is one stroke here

    @locked
    def stale_batches(self) -> list[str]:
        return sorted(b.id for b in self._moves.batches.values() if not b.is_sealed and self._is_stale(b))

    @locked
    def mend(self) -> int:
        return 0  # nobody else writes here

    @locked
    def note_round(self, error: str = "") -> None:
        now_ms = self._now_ms()
        said: dict[str, Any] = {"failed_ms": now_ms, "error": error[:MAX_ERROR_CHARS]} if error else {"good_ms": now_ms}
        self._rounds = replace(self._rounds, **said)

    @locked
    def rounds(self) -> Rounds:
        return self._rounds

    @locked
    def finished_batches(self, *, limit: int = 10) -> list[str]:
        return sorted(self._moves.finished, key=lambda b: (self._moves.finished[b], b))[:limit]

    @locked
    def manifest_written(self, batch_id: str, finished_ms: int) -> None:
        end_ms = self._moves.finished.get(batch_id)
        if end_ms is not None and end_ms <= finished_ms:
            self._moves.concluded[batch_id] = self._moves.finished.pop(batch_id)

    @locked
    def due_sweeps(self, *, limit: int = 10) -> list[str]:
        due = {b: at for b, at in self._moves.sweeps.items() if at <= self._now_ms()}
        return sorted(due, key=lambda b: (due[b], b))[:limit]

    @locked
    def plan_sweep(self, batch_id: str, after_s: float | None) -> None:
        self._moves.sweeps.pop(batch_id, None)
        if after_s is not None:
            self._moves.sweeps[batch_id] = self._now_ms() + in_ms(after_s)

    @locked
    def num_sweeps_planned(self, within_s: float) -> int:
        return sum(at <= self._now_ms() + in_ms(within_s) for at in self._moves.sweeps.values())

    @locked
    def forget_batches(self) -> list[str]:
        return self._keeping.forget_batches() if self._config.retention_s else []
