"""One trace from a client's request to the stored picture, over real processes; and nothing of it unasked."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from sigmafarm.http import site
from sigmafarm.http.server import HttpServer
from sigmafarm_common.errors import InvalidSettings, StoreUnavailable
from sigmafarm_common.tracing import OpenTelemetry, Tracing, open_tracing
from tests.chaos.chaos_farm import ChaosFarm
from tests.limits import LIMIT_S

#: What the client's program calls its trace and its span.
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def spans_in(log: str) -> dict[str, dict[str, Any]]:
    """Return the whole spans that a console exporter wrote between lines of a log, by name."""
    found: dict[str, dict[str, Any]] = {}
    for piece in log.split("\n{\n")[1:]:
        text, end, _ = piece.partition("\n}")
        if end:
            span = json.loads(f"{{{text}}}")
            found[span["name"]] = span
    return found


@pytest.mark.slow
def test_what_becomes_of_a_request_is_in_the_trace_of_its_client(
    make_simulated: Callable[..., ChaosFarm], monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    exporter, provider = memory.InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(site, "open_tracing", lambda service: OpenTelemetry(provider))
    farm = make_simulated()
    farm.environment["OTEL_TRACES_EXPORTER"] = "console"
    supervisor = farm.start_worker()
    farm.wait_for_workers(1)

    with HttpServer(farm.config.replaced(http_port=0), has_keeper=False) as server:
        answer = httpx2.post(
            f"{server.url}/v1/batches",
            json={"prompts": ["a lighthouse"]},
            headers={"traceparent": f"00-{TRACE}-{SPAN}-01"},
            timeout=LIMIT_S,
        )
    farm.wait_for_batch(answer.json()["batch"]["id"])
    supervisor.terminate()
    supervisor.wait()

    (submit,) = exporter.get_finished_spans()
    assert (submit.name, f"{submit.context.trace_id:x}", f"{submit.parent.span_id:016x}") == ("submit", TRACE, SPAN)
    spans = spans_in(supervisor.log.read_text())
    assert set(spans) == {"dispatch", "job", "claim", "steps", "upload", "finish"}
    assert {span["context"]["trace_id"] for span in spans.values()} == {f"0x{TRACE}"}
    assert {spans[name]["parent_id"] for name in ("dispatch", "job")} == {f"0x{submit.context.span_id:016x}"}
    job_span = spans["job"]["context"]["span_id"]
    assert {spans[name]["parent_id"] for name in ("claim", "steps", "upload", "finish")} == {job_span}
    assert spans["job"]["resource"]["attributes"]["service.name"] == "sigmafarm-worker"
    assert spans["dispatch"]["resource"]["attributes"]["service.name"] == "sigmafarm-supervisor"


def test_nothing_of_opentelemetry_is_imported_where_nobody_asks_for_it() -> None:
    program = (
        "import sys; from sigmafarm_common.tracing import open_tracing; t = open_tracing('x', {}); "
        "assert not t.is_on and t.parent() == ''; assert not [m for m in sys.modules if m.startswith('opentelemetry')]"
    )

    subprocess.run([sys.executable, "-c", program], check=True, timeout=LIMIT_S)


@pytest.mark.parametrize("said", [{}, {"OTEL_TRACES_EXPORTER": "none"}, {"OTEL_SERVICE_NAME": "mine"}])
def test_traces_are_off_unless_they_are_asked_for(said: dict[str, str]) -> None:
    assert not open_tracing("x", said).is_on


def test_exporter_that_nobody_has_is_refused_with_those_that_there_are() -> None:
    pytest.importorskip("opentelemetry.sdk")

    with pytest.raises(InvalidSettings, match="OTEL_TRACES_EXPORTER is zipkin: must be otlp"):
        open_tracing("x", {"OTEL_TRACES_EXPORTER": "zipkin"})


def test_job_whose_trace_cannot_be_read_is_drawn_all_the_same() -> None:
    pytest.importorskip("opentelemetry.sdk")
    tracing = open_tracing("x", {"OTEL_TRACES_EXPORTER": "console"})

    def away() -> str:
        raise StoreUnavailable("Redis does not answer")

    with tracing.below(away), Tracing().span("job"):
        assert tracing.parent() == ""
    tracing.close()
