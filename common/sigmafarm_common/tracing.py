"""OpenTelemetry: the spans of a job, from its submit to its stored picture, in the trace of whoever asked for it.

Off unless the environment asks for it (OTEL_TRACES_EXPORTER or OTEL_EXPORTER_OTLP_ENDPOINT) and the extra
`sigmafarm[otel]` is installed: then nothing of OpenTelemetry is imported, and each call is a call of an empty function.
A batch's record carries the trace on, as the text of a `traceparent` header.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.util import find_spec
from typing import TYPE_CHECKING

from sigmafarm_common.errors import FarmUnavailable, InvalidSettings
from sigmafarm_common.store.values import Dispatched

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

#: What in the environment asks for traces.
ASKING = ("OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
#: The header, and the key of OpenTelemetry's carriers, that a trace is told by.
TRACEPARENT = "traceparent"


class Tracing:
    """Traces nothing: what a farm has that was not asked for traces."""

    @property
    def is_on(self) -> bool:
        return False

    def span(self, name: str, **attributes: str | int) -> AbstractContextManager[object]:
        """Let what happens inside be a span, below the one that it happens in."""
        del name, attributes
        return nullcontext()

    def below(self, find_parent: Callable[[], str]) -> AbstractContextManager[object]:
        """Let spans inside belong to a trace, told by its traceparent; a text that is none begins a new one."""
        del find_parent
        return nullcontext()

    def parent(self) -> str:
        """Return the traceparent of the span that this happens in, empty for none."""
        return ""

    def close(self) -> None:
        """Send what is not sent yet."""


class OpenTelemetry(Tracing):
    """Traces with a provider of the SDK."""

    def __init__(self, provider: TracerProvider):
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider, self._propagator = provider, TraceContextTextMapPropagator()
        self._tracer = provider.get_tracer("sigmafarm")

    @property
    def is_on(self) -> bool:
        return True

    def span(self, name: str, **attributes: str | int) -> AbstractContextManager[object]:
        said = {f"sigmafarm.{key}": value for key, value in attributes.items()}
        return self._tracer.start_as_current_span(name, attributes=said)

    @contextmanager
    def below(self, find_parent: Callable[[], str]) -> Generator[None]:
        from opentelemetry import context

        try:
            parent = find_parent()
        except FarmUnavailable:  # a trace is never worth a job
            parent = ""
        token = context.attach(self._propagator.extract({TRACEPARENT: parent}))
        try:
            yield
        finally:
            context.detach(token)

    def parent(self) -> str:
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier)
        return carrier.get(TRACEPARENT, "")

    def close(self) -> None:
        self._provider.shutdown()


def open_tracing(service: str, environment: Mapping[str, str] | None = None) -> Tracing:
    """Return what traces a process, called `service` unless OTEL_SERVICE_NAME says otherwise.

    Raises InvalidSettings for an exporter that nobody has.
    """
    said = os.environ if environment is None else environment
    asked = any(said.get(name) for name in ASKING)
    if not asked or said.get("OTEL_SDK_DISABLED") == "true" or said.get("OTEL_TRACES_EXPORTER") == "none":
        return Tracing()
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.sdk") is None:
        return Tracing()  # such variables are often set for all programs of a machine
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": said.get("OTEL_SERVICE_NAME") or service}))
    provider.add_span_processor(BatchSpanProcessor(_exporter(said.get("OTEL_TRACES_EXPORTER") or "otlp")))
    return OpenTelemetry(provider)


def traced(
    publish: Callable[[Iterable[Dispatched]], None], tracing: Tracing, trace_of: Callable[[str], str]
) -> Callable[[Iterable[Dispatched]], None]:
    """Return a publisher whose calls are spans `dispatch` of their batches' traces. `trace_of` finds a batch's."""
    if not tracing.is_on:
        return publish

    def publish_traced(jobs: Iterable[Dispatched]) -> None:
        by_batch: dict[str, list[Dispatched]] = {}
        for job in jobs:
            by_batch.setdefault(job.job_id.rpartition("-")[0], []).append(job)
        for batch_id, its in by_batch.items():
            find_parent = lambda batch_id=batch_id: trace_of(batch_id)  # noqa: E731
            with tracing.below(find_parent), tracing.span("dispatch", batch=batch_id, jobs=len(its)):
                publish(its)

    return publish_traced


def _exporter(name: str) -> SpanExporter:
    if name == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter()
    if name == "otlp":
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        return OTLPSpanExporter()
    raise InvalidSettings(f"OTEL_TRACES_EXPORTER is {name}: must be otlp (over HTTP), console or none")
