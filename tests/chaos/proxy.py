"""A TCP proxy for faults between two processes: drop, delay, swallow, cut, replies that are lost, or are errors.

It stands between a farm and its Redis on a port of loopback. `mode` may be changed at any time; connections live on,
except where the mode says that they end.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from enum import Enum, auto

from tests.chaos.refusals import Conversation, Refuser
from tests.limits import LIMIT_S

#: Bytes read at once, and seconds after which a reading thread looks at the mode again.
CHUNK_BYTES, LOOK_S = 65_536, 0.05


class Mode(Enum):
    """What becomes of bytes and connections."""

    #: Everything passes.
    PASS = auto()
    #: New connections are closed at once, and those that are open end: a server that is gone.
    DROP = auto()
    #: Connections stay and no byte arrives on either side, ever: a partition. They are cut when the mode changes.
    SWALLOW = auto()
    #: Requests arrive, replies do not, and the connection ends with the first that is held back.
    LOSE_REPLIES = auto()
    #: Some requests are answered with errors, as `refuser` draws them, and do not arrive.
    REFUSE = auto()


class Proxy:
    """Passes a port of loopback on to another."""

    def __init__(self, port: int, *, seed: int = 0):
        self.target_port = port
        self.refuser = Refuser(seed)
        #: Seconds that every chunk waits on its way, in both directions.
        self.delay_s = 0.0
        #: Replies that were held back so far.
        self.num_lost_replies = 0
        #: In LOSE_REPLIES: only the replies to requests that hold these bytes are lost.
        self.lose_after = b""
        self._mode = Mode.PASS
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._swallowed: set[tuple[socket.socket, socket.socket]] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    @property
    def mode(self) -> Mode:
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        self._mode = mode
        if mode is Mode.DROP:
            self.cut()
        elif mode is not Mode.SWALLOW:
            self._end(self._swallowed)

    def cut(self) -> None:
        """End every connection that is open now."""
        self._end(self._pairs)

    def close(self) -> None:
        """End everything."""
        self._listener.close()
        self.cut()

    def _end(self, pairs: set[tuple[socket.socket, socket.socket]]) -> None:
        with self._lock:
            ending = list(pairs)
            self._pairs.difference_update(ending)
            self._swallowed.difference_update(ending)
        for pair in ending:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                if self.mode is Mode.DROP:
                    raise ConnectionRefusedError
                server = socket.create_connection(("127.0.0.1", self.target_port), timeout=LIMIT_S)
            except OSError:
                client.close()
                continue
            pair = (client, server)
            with self._lock:
                self._pairs.add(pair)
            loses, talk = threading.Event(), Conversation(self.refuser)
            for source, sink, is_reply in ((client, server, False), (server, client, True)):
                source.settimeout(None)
                said = (pair, source, sink, is_reply, loses, talk)
                threading.Thread(target=self._pass_on, args=said, daemon=True).start()

    def _pass_on(
        self,
        pair: tuple[socket.socket, socket.socket],
        source: socket.socket,
        sink: socket.socket,
        is_reply: bool,
        loses: threading.Event,
        talk: Conversation,
    ) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK_BYTES):
                if self.delay_s:
                    time.sleep(self.delay_s)
                if self.mode is Mode.SWALLOW:
                    with self._lock:
                        self._swallowed.add(pair)
                    continue
                if self.mode is Mode.LOSE_REPLIES:
                    if is_reply and loses.is_set():
                        self.num_lost_replies += 1
                        break
                    if not is_reply and self.lose_after in data:
                        loses.set()
                if is_reply:
                    talk.note_replies(data)
                    sink.sendall(data)
                    continue
                passed, answered = talk.ask(data, is_refusing=self.mode is Mode.REFUSE)
                sink.sendall(passed)
                source.sendall(answered)
        self._end({pair})
        source.close()
