"""Which batch belongs to a request: a new one, or that of the same request sent before.

A client that says `Idempotency-Key` gets one batch for it and its body. The openai clients say none, but count their
retries: `x-stainless-retry-count` is 0 at first, so two deliberate requests are two batches however equal they are. A
retry looks for the newest batch of the same caller and body that nobody waits for and nobody was answered with.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from typing import Self

from anyio import to_thread
from fastapi import Request

from sigmafarm.awaited import Awaited
from sigmafarm.http.fronts.lobby import SEAT_MARGIN_S, Lobby, Seat, grace_s, new_seat_id
from sigmafarm.http.fronts.openai.asked import Asked
from sigmafarm.http.fronts.waited_batch import queue_again, submit
from sigmafarm.http.guard.auth import Caller
from sigmafarm.http.site import Site
from sigmafarm_common.errors import FarmUnavailable

#: What batches of this front are called, before the digest of their request.
NAME = "openai"
#: The newest batches of an owner that a retry looks at.
SEEN_BATCHES = 100
#: A finished batch is taken for one whose answer was lost for so long after its end; clients retry within 8 s.
LOST_ANSWER_S = 30.0
#: How long after a retry took its seat a cancel may still arrive that another process had begun before.
CANCELLED_LATE_S = 3.0
DIGEST_CHARS = 12


@dataclass(frozen=True)
class Sender:
    """How a client sends a request, and sends it again."""

    #: What it calls the request, empty where it does not.
    idempotency_key: str
    #: Which retry this is, None for a client that does not count.
    retry: int | None

    @classmethod
    def of(cls, request: Request) -> Self:
        count = request.headers.get("x-stainless-retry-count", "")
        is_number = count.isascii() and count.isdigit() and len(count) < 4
        return cls(request.headers.get("idempotency-key", ""), int(count) if is_number else None)

    @property
    def grace_s(self) -> float:
        """For how long the request may be sent again when its connection breaks; 0 for a client that does not."""
        comes_back = bool(self.idempotency_key) or self.retry is not None
        return grace_s(self.retry) if comes_back else 0.0


@dataclass(frozen=True)
class Taken:
    """A batch that is waited for."""

    seat: Seat
    #: Until when what was cancelled is queued again, by the monotonic clock: the client left it and came back.
    again_until_s: float = 0.0


async def take_batch(site: Site, lobby: Lobby, caller: Caller, sender: Sender, asked: Asked, body: bytes) -> Taken:
    """Return the seat of the batch that belongs to a request, submitted now if there is none."""
    name = f"{NAME} {_digest(caller, '', body)}"
    if sender.retry and not sender.idempotency_key:
        for batch_id in await to_thread.run_sync(_left_batches, site, caller.owner, name):
            if lobby.is_free(batch_id):  # and is not any more: nothing is awaited before the seat is taken
                return await _again(site, lobby.seat(batch_id, grace_s=sender.grace_s, seat_id=new_seat_id()))
    key = f"{NAME} {_digest(caller, sender.idempotency_key, body)}" if sender.idempotency_key else None
    seat_id = new_seat_id() if sender.grace_s else ""
    batch_id = await to_thread.run_sync(lambda: _submit(site, caller, asked, name, key, seat_id))
    seat = lobby.seat(batch_id, grace_s=sender.grace_s, seat_id=seat_id)
    return await _again(site, seat) if key else Taken(seat)


async def _again(site: Site, seat: Seat) -> Taken:
    """Go on with a batch that may have been cancelled when its client left."""
    try:
        await to_thread.run_sync(_queue_again, site, seat)
    except BaseException:
        seat.__exit__()
        raise
    return Taken(seat, site.clock.monotonic_s() + CANCELLED_LATE_S)


def _queue_again(site: Site, seat: Seat) -> None:
    _take_seat(site, seat.batch_id, seat.id)  # first, so that no other process cancels any more
    read = Awaited(lambda: site.store.batch(seat.batch_id), "this request", was_there=True)
    queue_again(site, read())


def _submit(site: Site, caller: Caller, asked: Asked, name: str, key: str | None, seat_id: str) -> str:
    batch_id = submit(site, caller, asked.rows, asked.settings, num=asked.num, name=name, idempotency_key=key)
    if seat_id and not key:
        _take_seat(site, batch_id, seat_id)
    return batch_id


def _take_seat(site: Site, batch_id: str, seat_id: str) -> None:
    with contextlib.suppress(FarmUnavailable):  # what is accepted stays accepted
        site.store.take_seat(batch_id, seat_id, for_s=site.config.draw_wait_s + SEAT_MARGIN_S)


def _left_batches(site: Site, owner: str, name: str) -> list[str]:
    """Return the batches of a request that may have lost their client, newest first."""
    now_ms = 1000 * site.clock.wall_s()
    oldest_ms = now_ms - 1000 * (site.config.draw_wait_s + LOST_ANSWER_S)
    return [
        batch.id
        for batch in site.store.batches(owner=owner, limit=SEEN_BATCHES)
        if batch.name == name
        and batch.created_ms > oldest_ms
        and (not batch.counts.is_done or batch.finished_ms > now_ms - 1000 * LOST_ANSWER_S)
    ]


def _digest(caller: Caller, key: str, body: bytes) -> str:
    said = hashlib.sha256("\0".join((caller.owner, caller.key_id, key, "")).encode("utf-8", "replace"))
    said.update(body)
    return said.hexdigest()[: 2 * DIGEST_CHARS if key else DIGEST_CHARS]
