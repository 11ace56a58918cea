"""A front of an S3 server that fails on purpose: refuses, breaks, is slow, loses answers, lies about what it keeps."""

from __future__ import annotations

import contextlib
import http.client
import random
import sys
import threading
import time
from enum import Enum, auto
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from tests.limits import LIMIT_S


class StorageFault(Enum):
    """What happens to a request."""

    #: Answered 500 without being done.
    ERROR = auto()
    #: Done and answered after `slow_s`.
    SLOW = auto()
    #: Done; then the connection ends without an answer.
    LOST_ANSWER = auto()
    #: Answered 403, as with a key whose time is over.
    REFUSE = auto()
    #: Half of a PUT's body is kept; answered 200, without an ETag.
    HALF = auto()
    #: A PUT's body is kept with one bit turned; answered 200 with its ETag.
    OTHER_BYTES = auto()
    #: Done, and answered without an ETag: no fault of the picture's.
    NO_ETAG = auto()


#: What a refusal without doing anything says.
REFUSALS = {
    StorageFault.ERROR: (500, b"<Error><Code>InternalError</Code><Message>on purpose</Message></Error>"),
    StorageFault.REFUSE: (403, b"<Error><Code>ExpiredToken</Code><Message>The token has expired.</Message></Error>"),
}
#: Faults of what is kept: only a PUT meets them.
LIES = (StorageFault.HALF, StorageFault.OTHER_BYTES, StorageFault.NO_ETAG)


class QuietServer(ThreadingHTTPServer):
    """Clients that are killed in the middle of a request are no news here."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class FaultyS3:
    """Passes requests on to a server; a share of the writes, and of the deletes, meets a fault."""

    def __init__(self, upstream_url: str, *, seed: int = 0):
        self.upstream = urlsplit(upstream_url).netloc
        #: The fault, and the share of writes and deletes that meet it.
        self.fault: StorageFault | None = None
        self.share = 1.0
        self.slow_s = 0.5
        self.num_faults = 0
        self._random = random.Random(seed)
        self._server = QuietServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, name="faulty-s3", daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def draw(self, method: str) -> StorageFault | None:
        """Return the fault that a request meets."""
        fault = self.fault
        methods = ("PUT",) if fault in LIES else ("PUT", "POST", "DELETE")
        if fault is None or method not in methods or self._random.random() >= self.share:
            return None
        self.num_faults += 1
        return fault

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        front = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 1 << 20  # an answer goes out whole: in two pieces, the second waits 40 ms for a receipt

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
                pass

            def handle_expect_100(self) -> bool:
                goes_on = super().handle_expect_100()
                self.wfile.flush()  # a client that is not told to go on waits a second with its picture
                return goes_on

            def pass_on(self) -> None:
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    front.serve(self)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = pass_on  # noqa: N815 - the base class's names

        return Handler

    def serve(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        fault = self.draw(request.command)
        if fault in REFUSALS:
            status, data = REFUSALS[fault]
            _answer(request, status, [], data)
            return
        if fault is StorageFault.SLOW:
            time.sleep(self.slow_s)
        status, headers, data = self._ask(request, body, spoiled(body, fault))
        if fault in (StorageFault.HALF, StorageFault.NO_ETAG):
            headers = [(k, v) for k, v in headers if k.lower() != "etag"]
        if fault is StorageFault.LOST_ANSWER:
            request.close_connection = True
            return
        _answer(request, status, headers, data)

    def _ask(
        self, request: BaseHTTPRequestHandler, body: bytes, sent: bytes
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(self.upstream, timeout=LIMIT_S)
        left_out = {"connection", "expect", "content-length", *(("content-md5",) if sent != body else ())}
        # As it came: a server that checks signatures refuses a header that was not signed.
        connection.putrequest(request.command, request.path, skip_host=True, skip_accept_encoding=True)
        for name, value in request.headers.items():
            if name.lower() not in left_out:
                connection.putheader(name, value)
        connection.putheader("Content-Length", str(len(sent)))
        connection.endheaders(sent)
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return answer.status, answer.getheaders(), data


def spoiled(body: bytes, fault: StorageFault | None) -> bytes:
    """Return what is kept of a body."""
    if fault is StorageFault.HALF:
        return body[: len(body) // 2]
    if fault is StorageFault.OTHER_BYTES and body:
        return bytes([body[0] ^ 1]) + body[1:]
    return body


def _answer(request: BaseHTTPRequestHandler, status: int, headers: list[tuple[str, str]], data: bytes) -> None:
    request.send_response_only(status)
    kept = [(k, v) for k, v in headers if k.lower() not in ("transfer-encoding", "connection", "content-length")]
    lengths = [v for k, v in headers if k.lower() == "content-length"]
    for name, value in kept:
        request.send_header(name, value)
    is_head = request.command == "HEAD"
    request.send_header("Content-Length", lengths[0] if is_head and lengths else str(len(data)))
    request.end_headers()
    if not is_head:
        request.wfile.write(data)
