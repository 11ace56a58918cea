"""What a farm and the batches and jobs in the hand share: its settings, its records, its pictures, its clock.

Nothing is opened before the first question. A process that was forked opens its own, and so does one that was sent a
farm by pickle: what travels are the settings.
"""

from __future__ import annotations

import os
import threading
from typing import Any

from sigmafarm_common.clock import Clock, SystemClock
from sigmafarm_common.config import Config, Source
from sigmafarm_common.objects import ObjectStore, open_objects
from sigmafarm_common.store.protocol import Store
from sigmafarm_common.tracing import Tracing, open_tracing


class Connections:
    """The ways to one farm. Safe for threads."""

    def __init__(
        self,
        config: Config,
        *,
        store: Store | None = None,
        objects: ObjectStore | None = None,
        clock: Clock | None = None,
        tracing: Tracing | None = None,
    ):
        self.config, self.clock = config, clock or SystemClock()
        self._store, self._objects = store, objects
        self._tracing = tracing
        self._has_given = store is not None or objects is not None
        self._lock, self._pid = threading.Lock(), os.getpid()

    @property
    def store(self) -> Store:
        """The records. Raises StoreUnavailable, with the cure, where no farm is named and none runs here."""
        self._leave_parents()
        with self._lock:
            if self._store is None:
                from sigmafarm_common.store.redis_store import RedisStore  # takes a tenth of a second: only when asked

                self._store = RedisStore(self.config)
            return self._store

    @property
    def objects(self) -> ObjectStore:
        """The pictures."""
        self._leave_parents()
        with self._lock:
            if self._objects is None:
                self._objects = open_objects(self.config)
            return self._objects

    @property
    def tracing(self) -> Tracing:
        """The spans of submits, where OTEL_* asks for them."""
        self._leave_parents()
        with self._lock:
            if self._tracing is None:
                self._tracing = open_tracing("sigmafarm")
            return self._tracing

    def page(self, path: str) -> str:
        """Return a page of the dashboard, empty where nobody knows where that is."""
        dashboard = self.config.dashboard_url or self._told_address()
        return f"{dashboard.rstrip('/')}{path}" if dashboard else ""

    def _told_address(self) -> str:
        """Return the address that `up` has left, where this is its farm. Whether it answers is not tried."""
        if not any(each.source is Source.EMBEDDED for each in self.config.sources()):
            return ""
        from sigmafarm.api_address import API_URL_FILE  # brings http.client: only when asked

        try:
            return (self.config.data_dir / API_URL_FILE).read_text(encoding="utf-8").strip()
        except (OSError, ValueError):
            return ""

    def close(self) -> None:
        """Let go of the connections to the records; the next question opens one. May be called again."""
        self._leave_parents()
        with self._lock:
            store, self._store = self._store, None
            tracing, self._tracing = self._tracing, None
        if tracing is not None:
            tracing.close()
        close = getattr(store, "close", None)
        if close is not None:
            close()

    def _leave_parents(self) -> None:
        """In a process that was forked, forget what its parent opened: both would speak on one connection."""
        if self._pid != os.getpid():
            self._lock, self._pid = threading.Lock(), os.getpid()
            if not self._has_given:
                self._store = self._objects = self._tracing = None

    def __getstate__(self) -> dict[str, Any]:
        if self._has_given:
            raise TypeError("a farm that was given its store cannot be pickled: make it of settings alone")
        return {"config": self.config, "clock": self.clock}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["config"], clock=state["clock"])
