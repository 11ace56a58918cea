"""Loads the Lua scripts and runs them with the arguments that every one of them takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from redis import Redis
from redis.client import Pipeline
from redis.commands.core import Script

#: The file that stands in front of every script.
PRELUDE = "_prelude.lua"


@cache
def script_texts() -> Mapping[str, str]:
    """Return the text of every script by name, each with the prelude in front."""
    folder = files("sigmafarm_common.store") / "lua"
    prelude = (folder / PRELUDE).read_text(encoding="utf-8")
    names = [f.name for f in folder.iterdir() if f.name.endswith(".lua") and f.name != PRELUDE]
    return {n.removesuffix(".lua"): f"{prelude}\n{(folder / n).read_text(encoding='utf-8')}" for n in names}


class Scripts:
    """The store's scripts on one server: `scripts.run("claim", job_id, worker_id, lease_ms)`."""

    def __init__(self, client: Redis, *, namespace: str, event_limit: int, now_ms: Callable[[], int] | None = None):
        self._client = client
        self._namespace = namespace
        self._event_limit = event_limit
        #: A clock for tests; without one the scripts use Redis TIME.
        self.now_ms = now_ms
        self._scripts: dict[str, Script] = {n: client.register_script(t) for n, t in script_texts().items()}

    def run(self, name: str, *args: Any, pipeline: Pipeline | None = None) -> Any:
        """Run a script and return what it returns; on a pipeline, queue it there and return nothing of use."""
        now_ms = self.now_ms() if self.now_ms else 0
        everything = [self._namespace, now_ms, self._event_limit, *args]
        return self._scripts[name](keys=[], args=everything, client=pipeline or self._client)
