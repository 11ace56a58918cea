"""The notice that a spot machine is taken away: what each cloud says is heard, and a command is run once."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.limits import LIMIT_S

SCRIPT = Path(__file__).parents[2] / "deploy" / "spot" / "drain-on-notice.sh"
#: Whether a request that a cloud's metadata service is asked comes with the header that it wants.
WANTED = {"aws": "X-aws-ec2-metadata-token", "gcp": "Metadata-Flavor", "azure": "Metadata"}
PATHS = {
    "aws": "/latest/meta-data/spot/instance-action",
    "gcp": "/computeMetadata/v1/instance/preempted",
    "azure": "/metadata/scheduledevents?api-version=2020-07-01",
}
#: What each says at first, and what once the machine is to go.
QUIET = {"aws": (404, ""), "gcp": (200, "FALSE"), "azure": (200, '{"Events":[{"EventType":"Reboot"}]}')}
NOTICE = {
    "aws": (200, '{"action": "terminate", "time": "2026-11-29T08:22:00Z"}'),
    "gcp": (200, "TRUE"),
    "azure": (200, '{"Events":[{"EventId":"1","EventType":"Preempt"}]}'),
}


class Metadata(ThreadingHTTPServer):
    """A cloud's metadata service. It is quiet at the first question."""

    def __init__(self, cloud: str):
        super().__init__(("127.0.0.1", 0), Handler)
        self.cloud, self.num_asked = cloud, 0


class Handler(BaseHTTPRequestHandler):
    server: Metadata

    def do_PUT(self) -> None:
        is_token = self.path == "/latest/api/token" and self.headers["X-aws-ec2-metadata-token-ttl-seconds"]
        self._answer(200 if is_token else 400, "token")

    def do_GET(self) -> None:
        cloud = self.server.cloud
        if self.path != PATHS[cloud] or not self.headers[WANTED[cloud]]:
            self._answer(400, "")
            return
        self.server.num_asked += 1
        self._answer(*(QUIET if self.server.num_asked == 1 else NOTICE)[cloud])

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def metadata() -> Iterator[Callable[[str], Metadata]]:
    servers: list[Metadata] = []

    def start(cloud: str) -> Metadata:
        servers.append(Metadata(cloud))
        threading.Thread(target=servers[-1].serve_forever, kwargs={"poll_interval": 0.01}).start()
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def run(*arguments: str, **said: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin:/usr/local/bin", "INTERVAL_S": "0.01", **said}
    return subprocess.run(["sh", SCRIPT, *arguments], capture_output=True, text=True, env=environment, timeout=LIMIT_S)


@pytest.mark.skipif(shutil.which("curl") is None, reason="the script asks with curl, and there is none here")
@pytest.mark.parametrize("cloud", sorted(WANTED))
def test_notice_of_a_cloud_runs_the_command_once(cloud: str, metadata: Callable[[str], Metadata]) -> None:
    server = metadata(cloud)

    done = run(cloud, "echo", "stop it", METADATA_URL=f"http://127.0.0.1:{server.server_port}")

    assert (done.returncode, done.stdout) == (0, "stop it\n")
    assert "this machine will be taken away: echo stop it" in done.stderr
    assert server.num_asked == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [([], "aws, gcp or azure, not ''"), (["moon", "x"], "not 'moon'"), (["aws"], "what is to be run?")],
)
def test_script_says_what_it_wants(arguments: list[str], said: str) -> None:
    done = run(*arguments)

    assert done.returncode == 2
    assert said in done.stderr
