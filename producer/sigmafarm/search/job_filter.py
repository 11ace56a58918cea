"""Which jobs are meant: by state, by what they are searched for, by error, model, warning and own columns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from sigmafarm.search.query import Query
from sigmafarm.where import Where
from sigmafarm_common.states import JobState
from sigmafarm_common.store.values import Glance


@dataclass(frozen=True)
class JobFilter:
    """Which jobs are meant. An empty part means all."""

    states: frozenset[JobState] = frozenset()
    error_code: str = ""
    #: What is searched for, as query.py reads it.
    search: str = ""
    model: str = ""
    #: The code of a warning that it carries.
    warning: str = ""
    #: Values of the submitter's own columns.
    where: tuple[Where, ...] = ()
    #: Why the search cannot be read. Such a filter means no job.
    problem: str = ""

    @cached_property
    def query(self) -> Query:
        """The search, read. Raises InvalidRequest."""
        return Query() if self.problem else Query.parse(self.search)

    @cached_property
    def wanted_states(self) -> frozenset[JobState] | None:
        """The states that are meant, by the filter and in the search; None for all."""
        asked = [states for states in (self.states or None, self.query.states) if states is not None]
        return frozenset.intersection(*asked) if asked else None

    @property
    def is_by_state_only(self) -> bool:
        """Whether the store's index answers it."""
        others = (self.error_code, self.search.strip(), self.model, self.warning, self.where, self.problem)
        return not any(others)

    @property
    def is_all(self) -> bool:
        return self.is_by_state_only and not self.states

    @property
    def has_request(self) -> bool:
        """Whether settings must be read."""
        return bool(self.model or self.where) or self.query.has_request

    @property
    def has_fate(self) -> bool:
        """Whether what became of jobs must be read."""
        return bool(self.error_code or self.warning) or self.query.has_fate

    def within(self, states: frozenset[JobState]) -> JobFilter | None:
        """Return the filter narrowed to some states, None where it means no job of these."""
        narrowed = self.states & states if self.states else states
        return replace(self, states=narrowed) if narrowed else None

    def matches(self, glance: Glance) -> bool:
        """Whether a job is meant; its state is looked at too."""
        return (
            not self.problem
            and (not self.states or glance.state in self.states)
            and (not self.error_code or glance.error_code == self.error_code)
            and (not self.model or glance.request.get("model") == self.model)
            and (not self.warning or self.warning in glance.warnings)
            and all(each.matches(glance.request) for each in self.where)
            and self.query.matches(glance)
        )
