"""A Redis that answers with errors which nobody put on a list: some requests are answered here and never arrive.

A connection's answers must keep their order, so a decision is made only when no answer is owed, and holds for a whole
MULTI. What sets a connection up passes always, as it does at a server whose data are not there yet.
"""

from __future__ import annotations

import random
import threading

from tests.chaos.resp import Messages, command_of

#: What servers say that are being promoted, loaded, cut off from their replicas, moved; and what no server says yet.
ANSWERS = (
    "-NOREPLICAS Not enough good replicas to write.",
    "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "-LOADING Redis is loading the dataset in memory",
    "-READONLY You can't write against a read only replica.",
    "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
    "-CLUSTERDOWN The cluster is down",
    "-UNKNOWNTHING what is this",
)
SETTING_UP = frozenset({"HELLO", "AUTH", "CLIENT", "SELECT"})


class Refuser:
    """Which requests are answered with an error, for all connections of a proxy."""

    def __init__(self, seed: int = 0):
        #: The answers to draw from, and the share of requests that meet one.
        self.answers: tuple[str, ...] = ANSWERS
        self.share = 1.0
        #: Only requests that hold these bytes meet one.
        self.only = b""
        self.num_refused = 0
        self._random = random.Random(seed)
        self._lock = threading.Lock()

    def draw(self, request: bytes) -> bytes | None:
        """Return the error that a request is answered with, or None: it passes."""
        with self._lock:
            if not self.answers or self.only not in request or self._random.random() >= self.share:
                return None
            self.num_refused += 1
            return self._random.choice(self.answers).encode() + b"\r\n"


class Conversation:
    """One connection: the requests that came, the answers that are owed."""

    def __init__(self, refuser: Refuser):
        self._refuser = refuser
        self._requests, self._replies = Messages(), Messages()
        self._owed = 0
        self._is_in_multi = False
        self._error: bytes | None = None
        self._lock = threading.Lock()

    def ask(self, data: bytes, *, is_refusing: bool) -> tuple[bytes, bytes]:
        """Take what a client sent; return what goes on to the server, and what it is answered at once."""
        passed, answered = b"", b""
        with self._lock:
            for request in self._requests.feed(data):
                command = command_of(request)
                if not self._is_in_multi and not self._owed:
                    may_refuse = is_refusing and not passed and command not in SETTING_UP
                    self._error = self._refuser.draw(request) if may_refuse else None
                self._is_in_multi = (self._is_in_multi or command == "MULTI") and command not in ("EXEC", "DISCARD")
                if self._error is None:
                    passed += request
                    self._owed += 1
                else:
                    answered += self._error
        return passed, answered

    def note_replies(self, data: bytes) -> None:
        """Take note of what the server answered."""
        with self._lock:
            self._owed = max(0, self._owed - len(self._replies.feed(data)))
