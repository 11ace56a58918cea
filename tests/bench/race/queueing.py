"""In which batches b1 draws what waits: without Redis, torch or a pipeline."""

from __future__ import annotations

import json
from collections import defaultdict, deque

from tests.bench.race.loads import Asked

#: Pictures of a static batch.
MAX_BATCH = 16


class Waiting:
    """The jobs that b1 has read and not begun, by kind, each kind in the order of its coming."""

    def __init__(self) -> None:
        self._by_key: dict[str, deque[tuple[int, str, Asked]]] = defaultdict(deque)
        self._num_read = 0

    def add(self, line: str) -> None:
        job, said = json.loads(line)
        asked = Asked.parse(said)
        self._by_key[asked.key].append((self._num_read, job, asked))
        self._num_read += 1

    def next_batch(self) -> list[tuple[str, Asked]]:
        """Return the pictures to draw now: of the kind whose first has waited longest. Empty where none waits."""
        if not self._by_key:
            return []
        key = min(self._by_key, key=lambda each: self._by_key[each][0][0])
        kind = self._by_key[key]
        batch = [kind.popleft()[1:] for _ in range(min(MAX_BATCH, len(kind)))]
        if not kind:
            del self._by_key[key]
        return batch
