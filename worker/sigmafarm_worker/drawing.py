"""What a worker asks of an engine, without torch: the real one draws, a simulated one stands in for it in tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Protocol

from sigmafarm_common.config import Config
from sigmafarm_common.models_file import ModelSpec
from sigmafarm_common.records import ModelCard
from sigmafarm_common.settings import RenderRequest

if TYPE_CHECKING:
    from sigmafarm_worker.engine_stats import EngineStats
    from sigmafarm_worker.slot import Glimpse, OnStep, Rendered


class Servable(Protocol):
    """A model, as far as the farm hears of it."""

    def card(self) -> ModelCard:
        """Return what a producer needs to know of it."""
        ...


class DrawingEngine(Protocol):
    """See Engine for what each of them promises."""

    @property
    def models(self) -> Mapping[str, Servable]: ...

    @property
    def last_beat_s(self) -> float: ...

    @property
    def stats(self) -> EngineStats: ...

    @property
    def memory_bytes(self) -> int: ...

    def glimpses(self, timeout_s: float = 60.0) -> list[Glimpse]: ...

    def submit(self, request: RenderRequest, on_step: OnStep | None = None) -> Future[Rendered]: ...

    def drop(self, future: Future[Rendered], reason: str) -> None: ...

    def warm_up(self) -> float: ...

    def start(self) -> None: ...

    def stop(self, timeout_s: float | None = None) -> None: ...


#: Loads the models onto a device and returns an engine that is not started. Raises ModelNotLoadable.
MakeEngine = Callable[[Config, str, Mapping[str, ModelSpec]], DrawingEngine]
