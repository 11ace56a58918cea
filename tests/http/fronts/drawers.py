"""A hand that draws beside a test, as a worker does: for clients that wait for their pictures."""

from __future__ import annotations

from collections.abc import Mapping
from http.client import HTTPConnection

import httpx2

from sigmafarm import Batch, Farm
from sigmafarm.http.server import HttpServer
from sigmafarm_common.states import JobState
from tests.limits import until


def wait_for_batch(farm: Farm, num: int = 1) -> Batch:
    """Wait until so many batches were submitted; return the newest."""
    until(lambda: len(farm.batches()) >= num, f"{num} batches are there")
    return farm.batches()[0]


def wait_for_state(farm: Farm, batch_id: str, state: JobState) -> None:
    until(lambda: getattr(farm.store.batch(batch_id).counts, state.value), f"a job of {batch_id} is {state}")


def wait_for_listener(feed: object, num: int = 1) -> None:
    """Wait until so many clients wait."""
    until(lambda: getattr(feed, "num_listeners", 0) >= num, "clients wait")


def ask_and_leave(
    server: HttpServer, farm: Farm, path: str, body: Mapping[str, object], headers: Mapping[str, str], num: int = 1
) -> None:
    """Send a request, leave once the client is heard to wait for its batch, the num-th of the farm, and wait until the
    server has noticed."""
    feed = server.app.state.site.feed
    line = HTTPConnection("127.0.0.1", server.port)
    asked = httpx2.Request("POST", server.url + path, json=body, headers=headers)  # byte for byte what httpx2 sends
    line.request("POST", path, asked.read(), dict(asked.headers))
    wait_for_batch(farm, num)
    wait_for_listener(feed)
    line.close()
    until(lambda: not feed.num_listeners, "the server has noticed that its client left")
    assert len(farm.batches()) == num
