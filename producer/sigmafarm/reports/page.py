"""A report as one page: everything in it escaped, nothing fetched from elsewhere."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from jinja2 import Environment, Template

from sigmafarm.reports.report import Report
from sigmafarm_common.visible import visible

#: The page's template, beside this file.
TEMPLATE = Path(__file__).with_name("report.html")


def page_of(report: Report) -> str:
    """Return the page of a report."""
    spans = {"Waiting for its turn": report.wait, "Drawing": report.draw, "Encoding and upload": report.upload}
    return _template().render(report=report, batch=report.batch, counts=report.batch.counts, spans=spans)


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(visible=visible, when=_when, seconds=seconds, number=_number)
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8"))


def seconds(value: float | None) -> str:
    """Return a time in words that fit its size."""
    if value is None:
        return "–"
    if value < 10:
        return f"{value:.2f} s"
    if value < 120:
        return f"{value:.1f} s"
    minutes = round(value / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def _when(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if at_ms else "–"


def _number(value: int) -> str:
    return f"{value:,}"
