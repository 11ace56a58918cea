"""Addresses with queries: what is empty is left out, so that a link says only what matters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

from sigmafarm.http.job_filter import JobFilter


def query(path: str, said: Mapping[str, Any]) -> str:
    """Return an address; lists are said again and again, empty values not at all."""
    pairs: list[tuple[str, str]] = []
    for name, value in said.items():
        values: Iterable[Any] = value if isinstance(value, list | tuple | frozenset) else [value]
        pairs += [(name, str(each)) for each in values if each not in (None, "")]
    text = urlencode(pairs, errors="replace")
    return f"{path}?{text}" if text else path


def filter_fields(wanted: JobFilter) -> list[tuple[str, str]]:
    """Return a filter of jobs as the fields of a form or a query."""
    fields = [("state", str(state)) for state in sorted(wanted.states)]
    fields += [("error_code", wanted.error_code), ("q", wanted.search), ("model", wanted.model)]
    fields.append(("warning", wanted.warning))
    fields += [("where", str(each)) for each in wanted.where]
    return [(name, value) for name, value in fields if value]
