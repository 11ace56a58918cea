"""Which jobs of a batch are meant, as a query says it. `search` and `q` are one thing: the longer name counts."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from fastapi import Depends, Query
from pydantic import Field

from sigmafarm.search import JobFilter
from sigmafarm.search.query import MAX_SEARCH_CHARS
from sigmafarm.where import Where
from sigmafarm_common.errors import InvalidRequest
from sigmafarm_common.job_warnings import MAX_CODE_CHARS
from sigmafarm_common.own_columns import MAX_COLUMN_CHARS, MAX_COLUMN_NAME_CHARS
from sigmafarm_common.settings import MODEL_NAME
from sigmafarm_common.states import JobState

__all__ = ["JobFilter", "JobSearch", "Search", "Wanted", "WantedHere", "job_filter"]

#: The most columns that one question may name, and the longest of them.
MAX_WHERE, MAX_WHERE_CHARS = 8, MAX_COLUMN_NAME_CHARS + MAX_COLUMN_CHARS + 1

#: What they look like, for the documentation; others are refused in words of ours.
WhereText = Annotated[
    str, Field(max_length=MAX_WHERE_CHARS, json_schema_extra={"pattern": r"^\s*[^=\s][^=]*="}, examples=["id=A7"])
]
Search = Annotated[str, Query(max_length=MAX_SEARCH_CHARS, description="Text that it holds, in whatever case.")]
JobSearch = Annotated[
    str,
    Query(
        max_length=MAX_SEARCH_CHARS,
        description='Words that its prompt holds, a "phrase", and seed:7, steps:20..30, state:failed, worker:gpu1, '
        "rated:4..5, error:nan; all of them must be so.",
    ),
]
OldSearch = Annotated[str, Query(max_length=MAX_SEARCH_CHARS, description="Another name of `search`.")]


async def read_filter(
    state: Annotated[list[JobState] | None, Query(description="May be said again.")] = None,
    error_code: Annotated[str, Query(max_length=100, description="Why it failed.")] = "",
    search: JobSearch = "",
    q: OldSearch = "",
    model: Annotated[str, Query(pattern=f"^$|{MODEL_NAME}")] = "",
    warning: Annotated[
        str, Query(max_length=MAX_CODE_CHARS, description="A warning that it carries, by its code: prompt_cut.")
    ] = "",
    where: Annotated[
        list[WhereText] | None,
        Query(max_length=MAX_WHERE, description="A column of the rows' own and its value: id=A7. May be said again."),
    ] = None,
) -> JobFilter:
    """Read the filter from a query; the search is not read yet. Raises InvalidRequest."""
    columns = tuple(Where.parse(text) for text in where or ())
    return JobFilter(frozenset(state or ()), error_code, search or q, model, warning, columns)


async def job_filter(said: Annotated[JobFilter, Depends(read_filter)]) -> JobFilter:
    """Read the filter from a query. Raises InvalidRequest for a search that cannot be read."""
    _ = said.query
    return said


async def job_filter_here(said: Annotated[JobFilter, Depends(read_filter)]) -> JobFilter:
    """Read the filter for a page, which shows itself why a search cannot be read."""
    try:
        _ = said.query
    except InvalidRequest as error:
        return replace(said, problem=error.fields[0].message)
    return said


Wanted = Annotated[JobFilter, Depends(job_filter)]
WantedHere = Annotated[JobFilter, Depends(job_filter_here)]
