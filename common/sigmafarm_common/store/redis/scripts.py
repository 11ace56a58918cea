"""Loads the Lua scripts and runs them with the arguments that every one of them takes.

A server makes every function of a script anew at each call. So a script gets of the prelude only what it uses, which
is found by name: a function that is named in a comment or a text is taken too, and does no harm.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from redis import Redis
from redis.commands.core import Script

from sigmafarm_common.states import JobState
from sigmafarm_common.store.values import (
    BATCHES_PER_PIECE,
    BOUNDS_MS,
    HIGHEST_PRIORITY,
    HISTORY_LIMIT,
    JOBS_PER_BATCH,
    LAST_ROUNDS,
    LOWEST_PRIORITY,
    MEASURED_FIELDS,
    MODELS_PER_PIECE,
    PACE_ENTRIES,
    PACE_S,
    SCHEMA_VERSION,
    SIZE_WINDOW,
    TWINS_PER_CALL,
)

#: The file that stands in front of every script.
PRELUDE = "_prelude.lua"
#: What every script begins with.
GUARD = "refuse_newer_records()\n"
#: What a script answers to what would be more than its owner may have open.
QUOTA = -3
#: What scripts answer where rows are missing that were written before.
ROWS_MISSING = -2
#: What a script answers to rows that draw from a picture that is not there.
GONE = -4
#: Numbers that scripts know by these names.
NUMBERS: Mapping[str, int] = {
    "SCHEMA_VERSION": SCHEMA_VERSION,
    "HISTORY_LIMIT": HISTORY_LIMIT,
    "PACE_MS": PACE_S * 1000,
    "PACE_ENTRIES": PACE_ENTRIES,
    "MEASURED_FIELDS": MEASURED_FIELDS,
    "LOWEST_PRIORITY": LOWEST_PRIORITY,
    "HIGHEST_PRIORITY": HIGHEST_PRIORITY,
    "BATCHES_PER_PIECE": BATCHES_PER_PIECE,
    "JOBS_PER_BATCH": JOBS_PER_BATCH,
    "MODELS_PER_PIECE": MODELS_PER_PIECE,
    "SIZE_WINDOW": SIZE_WINDOW,
    "LAST_ROUNDS": LAST_ROUNDS,
    "TWINS_PER_CALL": TWINS_PER_CALL,
    "QUOTA": QUOTA,
    "GONE": GONE,
}
#: Sets of states that scripts know by these names.
STATE_SETS: Mapping[str, Sequence[JobState]] = {
    "IS_STATE": tuple(JobState),
    "IS_OPEN": tuple(state for state in JobState if not state.is_terminal),
}
#: Lists of numbers by name, which scripts know by these names.
LISTS: Mapping[str, Mapping[str, Sequence[int]]] = {"BOUNDS_MS": BOUNDS_MS}
_WORD = re.compile(r"[A-Za-z_]\w*")


@cache
def script_texts() -> Mapping[str, str]:
    """Return the text of every script by name, each with the prelude in front."""
    folder = files("sigmafarm_common.store") / "lua"
    prelude = [*constants(), *parts_of((folder / PRELUDE).read_text(encoding="utf-8"))]
    names = [f.name for f in folder.iterdir() if f.name.endswith(".lua") and f.name != PRELUDE]
    scripts = {n.removesuffix(".lua"): GUARD + (folder / n).read_text(encoding="utf-8") for n in names}
    return {name: with_prelude(prelude, script) for name, script in scripts.items()}


def constants() -> list[Part]:
    """Return what Python hands over to the scripts, a statement each."""
    said = {name: str(number) for name, number in NUMBERS.items()}
    said |= {name: f"{{{', '.join(f'{state} = true' for state in states)}}}" for name, states in STATE_SETS.items()}
    for name, lists in LISTS.items():
        said[name] = f"{{{', '.join(f'{k} = {{{_listed(numbers)}}}' for k, numbers in lists.items())}}}"
    return [Part(f"local {name} = {value}", frozenset({name})) for name, value in said.items()]


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(str(number) for number in numbers)


def parts_of(prelude: str) -> list[Part]:
    """Return the statements of the prelude that stand at its left edge, in order, each with the names that it makes."""
    lines = [line for line in prelude.splitlines() if line and not line.startswith("--")]
    starts = [n for n, line in enumerate(lines) if line.startswith(("local ", "function "))]
    texts = ["\n".join(lines[a:b]) for a, b in zip(starts, [*starts[1:], len(lines)], strict=True)]
    return [Part(text, _made_by(text)) for text in texts]


def with_prelude(parts: Sequence[Part], script: str) -> str:
    """Return a script behind those parts of the prelude that it needs, directly or by way of others."""
    needed, words = list[str](), set(_WORD.findall(script))
    for part in reversed(parts):  # what a part needs stands before it
        if words & part.names:
            needed.insert(0, part.text)
            words |= set(_WORD.findall(part.text))
    return "\n".join((*needed, script))


def _made_by(text: str) -> frozenset[str]:
    """Return the names that a statement makes; `function redis.call` adds to redis."""
    head = text.partition("\n")[0]
    if found := re.match(r"(?:local )?function (\w+)", head):
        return frozenset({found[1]})
    return frozenset(_WORD.findall(head.removeprefix("local ").partition("=")[0]))


@dataclass(frozen=True)
class Part:
    """One statement of the prelude."""

    text: str
    #: What it makes for those behind it.
    names: frozenset[str]


class Scripts:
    """The store's scripts on one server: `scripts.run("claim", job_id, worker_id, lease_ms)`."""

    def __init__(self, client: Redis, *, namespace: str, event_limit: int, now_ms: Callable[[], int] | None = None):
        self._client = client
        self._namespace = namespace
        self._event_limit = event_limit
        #: A clock for tests; without one the scripts use Redis TIME.
        self.now_ms = now_ms
        self._scripts: dict[str, Script] = {n: client.register_script(t) for n, t in script_texts().items()}

    def run(self, name: str, *args: Any) -> Any:
        """Run a script and return what it returns."""
        now_ms = self.now_ms() if self.now_ms else 0
        everything = [self._namespace, now_ms, self._event_limit, *args]
        return self._scripts[name](keys=[], args=everything, client=self._client)
