"""Runs the application: a socket of its own, uvicorn on it, and an end that no open stream holds up.

`HttpServer.run` serves in the caller's thread until SIGINT or SIGTERM; `start` and `stop` serve in a thread beside
other work, as `sigmafarm up` does.
"""

from __future__ import annotations

import contextlib
import errno
import signal
import socket
import threading
from functools import partial
from typing import Any, Self

import uvicorn

from sigmafarm.http.app import create_app
from sigmafarm.http.guard.door import Door, GuardedProtocol
from sigmafarm.http.guard.origin import is_loopback
from sigmafarm.http.site import Site
from sigmafarm_common.config import Config
from sigmafarm_common.errors import InvalidSettings, StoreUnavailable

#: Connections that wait to be accepted.
BACKLOG = 2048
#: Ports that are tried where nobody named one.
PORTS_TRIED = 20
#: How long open requests get when the server ends, and how long `start` waits for the first answer.
GRACE_S, START_LIMIT_S = 5, 60.0


class HttpServer:
    """One server of the API. Raises InvalidSettings for an address that it cannot have.

    With `has_any_port`, a port that is taken makes it listen at one of the next PORTS_TRIED.
    """

    def __init__(self, config: Config, *, has_keeper: bool = True, has_any_port: bool = False):
        self.config = config
        tries = PORTS_TRIED if has_any_port else 1
        self._socket = bind(config.http_host, config.http_port, tries=tries)
        try:
            self.app = create_app(config, has_keeper=has_keeper)
        except BaseException:
            self._socket.close()
            raise
        self._site: Site = self.app.state.site
        places = self._site.guard.places
        self.door = Door(places, config.header_wait_s)
        protocol: Any = partial(GuardedProtocol, self.door)
        self._server = _Server(
            uvicorn.Config(
                self.app,
                http=protocol,
                ws="none",
                backlog=places.guests,  # as many are accepted at one stroke, before any can be refused
                lifespan="on",
                log_config=None,
                access_log=False,  # a query may hold a prompt
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=GRACE_S,
            ),
            self._site,
        )
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where a browser on this machine finds it."""
        host = self.config.http_host
        name = "127.0.0.1" if host in ("0.0.0.0", "::", "") else host
        return f"http://{f'[{name}]' if ':' in name else name}:{self.port}"

    @property
    def port(self) -> int:
        return self._socket.getsockname()[1]

    def check(self) -> None:
        """Raise what stands in the way: Redis away, or one that loses jobs; no key where one is needed."""
        self._site.store.check()
        self._site.guard.gate.check_bind()

    def run(self) -> None:
        """Serve until SIGTERM, which is no error, or SIGINT, which is KeyboardInterrupt."""
        if threading.current_thread() is threading.main_thread():
            # uvicorn raises the signal again for whoever had it before, when it has ended in order: that is us.
            signal.signal(signal.SIGTERM, lambda _number, _frame: self._ask_to_stop())
        self._server.run(sockets=[self._socket])

    def start(self) -> None:
        """Serve in a thread; return when requests are answered. Raises StoreUnavailable if it does not come up."""
        self._thread = threading.Thread(target=self.run, name="http", daemon=True)
        self._thread.start()
        self._server.has_begun.wait(START_LIMIT_S)
        if not self._server.started:
            self.stop()
            raise StoreUnavailable("the API did not come up: the log says why")

    def is_alive(self) -> bool:
        """Whether the thread of `start` still serves."""
        return self._thread is not None and self._thread.is_alive()

    def stop(self) -> None:
        """End it: streams are closed, open requests get GRACE_S. May be called again."""
        self._ask_to_stop()
        if self._thread is not None:
            self._thread.join(4 * GRACE_S)
            self._thread = None
        self._socket.close()

    def _ask_to_stop(self) -> None:
        self._server.should_exit = True

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class _Server(uvicorn.Server):
    """uvicorn's server, which says when it has begun and ends the streams before it waits for requests to end."""

    def __init__(self, config: uvicorn.Config, site: Site):
        super().__init__(config)
        self._site = site
        self.has_begun = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
            for each in sockets or ():
                each.listen(BACKLOG)  # in the kernel more may wait
        finally:
            self.has_begun.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._site.feed.close_listeners()
        await super().shutdown(sockets)


def bind(host: str, port: int, *, tries: int = 1) -> socket.socket:
    """Return a socket that listens there, or at one of the next ports. Raises InvalidSettings, with the cure."""
    for each in range(port, port + tries - 1):
        with contextlib.suppress(InvalidSettings):
            return _listen_at(host, each)
    return _listen_at(host, port + tries - 1)


def _listen_at(host: str, port: int) -> socket.socket:
    try:
        # The protocol is said, for asyncio switches Nagle's delay off only where it reads TCP.
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, proto=socket.IPPROTO_TCP)[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise InvalidSettings(_cannot_listen(host, port, error)) from None
    return listener


def _cannot_listen(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"SIGMAFARM_HTTP_PORT is {port}: another program listens there; name another port, or 0 for any"
    if error.errno == errno.EACCES:
        return f"SIGMAFARM_HTTP_PORT is {port}: this user may not listen there; name one above 1023"
    where = "loopback" if is_loopback(host) else "this machine"
    return f"SIGMAFARM_HTTP_HOST is {host}: {error.strerror or error}; name an address of {where}, such as 127.0.0.1"
