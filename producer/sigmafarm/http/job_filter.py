"""Which jobs of a batch are meant, as a query says it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from fastapi import Depends, Query
from pydantic import Field

from sigmafarm.where import Where
from sigmafarm_common.job_warnings import MAX_CODE_CHARS
from sigmafarm_common.own_columns import MAX_COLUMN_CHARS, MAX_COLUMN_NAME_CHARS
from sigmafarm_common.records import Job
from sigmafarm_common.settings import MODEL_NAME
from sigmafarm_common.states import JobState

#: The most columns that one question may name, and the longest of them.
MAX_WHERE, MAX_WHERE_CHARS = 8, MAX_COLUMN_NAME_CHARS + MAX_COLUMN_CHARS + 1

#: What they look like, for the documentation; others are refused in words of ours.
WhereText = Annotated[
    str, Field(max_length=MAX_WHERE_CHARS, json_schema_extra={"pattern": r"^\s*[^=\s][^=]*="}, examples=["id=A7"])
]
Search = Annotated[str, Query(max_length=200, description="Text that it holds, in whatever case.")]


@dataclass(frozen=True)
class JobFilter:
    """Which jobs of a batch are meant. An empty part means all."""

    states: frozenset[JobState] = frozenset()
    error_code: str = ""
    search: str = ""
    model: str = ""
    #: The code of a warning that it carries.
    warning: str = ""
    #: Values of the submitter's own columns.
    where: tuple[Where, ...] = ()

    @property
    def is_by_state_only(self) -> bool:
        """Whether the store's index answers it."""
        return not (self.error_code or self.search or self.model or self.warning or self.where)

    @property
    def is_all(self) -> bool:
        return self.is_by_state_only and not self.states

    def within(self, states: frozenset[JobState]) -> JobFilter | None:
        """Return the filter narrowed to some states, None where it means no job of these."""
        narrowed = self.states & states if self.states else states
        return replace(self, states=narrowed) if narrowed else None

    def matches(self, job: Job) -> bool:
        """Whether a job is meant; its state is looked at too."""
        prompt = job.request.prompt
        return (
            (not self.states or job.state in self.states)
            and (not self.error_code or job.error_code == self.error_code)
            and (not self.model or job.model == self.model)
            and (not self.warning or any(each.code == self.warning for each in job.warnings))
            and all(each.matches(job) for each in self.where)
            and (not self.search or self.search.casefold() in prompt.casefold())
        )


async def job_filter(
    state: Annotated[list[JobState] | None, Query(description="May be said again.")] = None,
    error_code: Annotated[str, Query(max_length=100, description="Why it failed.")] = "",
    q: Search = "",
    model: Annotated[str, Query(pattern=f"^$|{MODEL_NAME}")] = "",
    warning: Annotated[
        str, Query(max_length=MAX_CODE_CHARS, description="A warning that it carries, by its code: prompt_cut.")
    ] = "",
    where: Annotated[
        list[WhereText] | None,
        Query(max_length=MAX_WHERE, description="A column of the rows' own and its value: id=A7. May be said again."),
    ] = None,
) -> JobFilter:
    """Read the filter from a query. Raises InvalidRequest."""
    columns = tuple(Where.parse(text) for text in where or ())
    return JobFilter(frozenset(state or ()), error_code, q, model, warning, columns)


Wanted = Annotated[JobFilter, Depends(job_filter)]
