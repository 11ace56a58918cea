"""Clients that wait at the API for their picture, as OpenAI's do: their connections break, they come back, they leave.

The front's own code runs: take_batch, Lobby, wait_until_drawn. Its coroutines never wait for an event loop here: what
they ask of threads is done at once, and a feed of events waits in virtual time. So each runs to its end as a call.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar
from unittest import mock

from sigmafarm import Farm
from sigmafarm.http.fronts import lobby as lobby_module
from sigmafarm.http.fronts import waited_batch
from sigmafarm.http.fronts.lobby import Lobby, grace_s
from sigmafarm.http.fronts.openai import retries
from sigmafarm.http.fronts.openai.retries import Sender, take_batch
from sigmafarm.http.fronts.waited_batch import drawn_jobs, wait_until_drawn
from sigmafarm.http.guard.auth import Caller
from sigmafarm_common.errors import (
    Conflict,
    FarmUnavailable,
    NotDrawnInTime,
    RecordsLost,
    RenderError,
    SigmafarmError,
    UnknownModel,
)
from sigmafarm_common.store.values import Event, EventKind
from tests.simulation.scheduler import Process, Task
from tests.simulation.seams import ObjectsSeam, StoreSeam
from tests.simulation.store import Violation

if TYPE_CHECKING:
    from tests.simulation.world import World

#: Whose batches they are, and processes of the API.
OWNER, NUM_APIS = "front", 2
#: The most clients of a farm: each waits for something, at which the scheduler looks again and again.
MOST = 40
#: How long a connection holds, in seconds: one that breaks, and one that does not.
BROKEN_S, PATIENT_S = (0.2, 8.0), 60.0
#: Seconds that a process of the API takes to be replaced.
REPLACE_S = 0.5
#: Steps of their pictures: drawn in two seconds, or in half a minute.
STEPS = (8, 8, 8, 120)
#: Seconds after its grace in which a batch is cancelled that was left for good.
CANCELLED_S = 10.0
#: How a client pauses before it comes back: at first, and at most.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 8.0
#: What a client may be told, and comes back after; of a batch that was cancelled when it had left, Conflict.
PASSING = (FarmUnavailable, RecordsLost, UnknownModel, NotDrawnInTime, Conflict)

T = TypeVar("T")


class Gone(Exception):
    """The client has left: what asyncio's cancellation is to the front."""


@dataclass
class Call:
    """A request as its client and the process that answers see it."""

    number: int
    retry: int
    key: str
    #: Steps of its picture.
    steps: int
    is_gone: bool = False
    batch_id: str = ""
    #: drawn, or an error; None while nothing is answered.
    answer: str | SigmafarmError | None = None

    @property
    def asked(self) -> Any:
        """Return what it asks for, as far as a front reads it."""
        row = {"prompt": f"a boat of client {self.number}", "seed": self.number, "num_inference_steps": self.steps}
        return SimpleNamespace(rows=[row], settings={}, num=1)

    @property
    def body(self) -> bytes:
        return f"client {self.number}".encode()


class Api:
    """A process of the API, as far as fronts need one: a Site with its feed, a Lobby, an event loop."""

    def __init__(self, world: World, name: str):
        self.world, self.process = world, Process(name)
        self.config, self.clock = world.config, world.clock
        self.store, objects = StoreSeam(self.process, world), ObjectsSeam(self.process, world)
        self.farm = Farm(world.config, store=self.store, objects=objects, clock=world.clock)
        self.feed, self.lobby = self, Lobby(self)
        self.is_stopping = False
        #: What each task answers.
        self._calls: dict[Task, Call] = {}

    def answer(self, call: Call) -> None:
        """Answer a request in a task of this process."""
        self.world.scheduler.start(self.process, partial(self._answer, call))

    def _answer(self, call: Call) -> None:
        task = self.world.scheduler.task
        self._calls[task] = call
        try:
            self._draw(call)
            call.answer = "drawn"
        except Gone:
            pass
        except SigmafarmError as error:
            call.answer = error
        finally:
            del self._calls[task]

    def _draw(self, call: Call) -> None:
        """Do what the route does: see `_draw` and `_answer` of openai/images.py."""
        caller, sender = Caller(OWNER, frozenset()), Sender(call.key, call.retry)
        taken = called(take_batch(self, self.lobby, caller, sender, call.asked, call.body))
        call.batch_id = taken.seat.batch_id
        with taken.seat as seat:
            batch = called(wait_until_drawn(self, seat, again_until_s=taken.again_until_s))
            try:
                drawn_jobs(self, batch)
            except SigmafarmError as error:
                if not error.retryable:
                    seat.give_up()
                raise
            if call.is_gone:
                raise Gone
            seat.answer()

    def stop(self) -> None:
        """End in order: every client is told to come again."""
        self.is_stopping = True
        self.world.scheduler.wait(5.0, lambda: not self._calls)
        self.world.scheduler.end(self.process)

    @asynccontextmanager
    async def listen(self, _accepts: object) -> AsyncGenerator[Listener]:
        """Give a listener to the batch of the request that this task answers."""
        yield Listener(self, self._calls[self.world.scheduler.task])

    def run_in_executor(self, _executor: object, do: Callable[..., object], *said: object) -> None:
        """Do something in a task of its own, as an event loop does it in a thread."""
        self.world.scheduler.start(self.process, partial(do, *said))

    def call_later(self, after_s: float, do: Callable[..., object], *said: object) -> Timer:
        """Do something after a time."""
        timer = Timer()

        def ring() -> None:
            if not self.world.scheduler.wait(after_s, lambda: timer.is_cancelled):
                do(*said)

        self.world.scheduler.start(self.process, ring)
        return timer


class Timer:
    """What call_later gives."""

    is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class DeadLoop:
    """The event loop of a process that was killed: nothing happens in it any more."""

    @staticmethod
    def run_in_executor(*_said: object) -> None:
        pass

    @staticmethod
    def call_later(*_said: object) -> Timer:
        return Timer()


class Listener:
    """News of a batch, as the feed of a process passes them on."""

    def __init__(self, api: Api, call: Call):
        self._api, self._call = api, call

    async def next(self, timeout_s: float) -> Event | None:
        """Return the event of its end, None if that does not come in time. Raises Gone, and EOFError where this process
        ends."""
        api, call = self._api, self._call
        api.world.scheduler.wait(timeout_s, lambda: call.is_gone or api.is_stopping or self._has_ended())
        if call.is_gone:
            raise Gone
        if api.is_stopping:
            raise EOFError
        return Event("1-0", EventKind.BATCH_FINISHED, call.batch_id, "", {}) if self._has_ended() else None

    def _has_ended(self) -> bool:
        world = self._api.world
        return not world.is_store_away and world.store.has_ended(self._call.batch_id)


class Clients:
    """Those who wait at the API, and its processes."""

    def __init__(self, world: World):
        self.world, self.process = world, Process("c")
        self._lives = count()
        self.apis = [self._api(n) for n in range(NUM_APIS)]
        self.num, self.num_waiting, self.num_api_ends = 0, 0, 0

    def _api(self, number: int) -> Api:
        return Api(self.world, f"a{number}.{next(self._lives)}")

    def start(self) -> None:
        """Let clients come, if any do."""
        if self.world.mix.client_s:
            self.world.scheduler.start(self.process, self._come)

    def crash_api(self) -> None:
        """Kill a process of the API."""
        number, api = self._any_api()
        self.world.note(f"{api.process.name} is killed")
        self.world.scheduler.end(api.process)
        self._replace(number)

    def end_api(self) -> None:
        """End a process of the API in order."""
        number, api = self._any_api()
        self.world.note(f"{api.process.name} is told to end")
        api.stop()
        self._replace(number)

    def _any_api(self) -> tuple[int, Api]:
        number = self.world.scheduler.chance.randrange(NUM_APIS)
        self.num_api_ends += 1
        return number, self.apis[number]

    def _replace(self, number: int) -> None:
        self.world.scheduler.wait(REPLACE_S)
        self.apis[number] = self._api(number)

    def _come(self) -> None:
        scheduler = self.world.scheduler
        while not self.world.is_healing and not self.world.has_submitted and self.num < MOST:
            scheduler.wait(scheduler.chance.expovariate(1 / self.world.mix.client_s))
            if not self.world.is_healing:
                self.num, self.num_waiting = self.num + 1, self.num_waiting + 1
                scheduler.start(self.process, partial(self._wait_for_picture, self.num))

    def _wait_for_picture(self, number: int) -> None:
        """Ask, and come back until there is an answer; or leave for good."""
        scheduler, mix, num_api_ends = self.world.scheduler, self.world.mix, self.num_api_ends
        chance = scheduler.chance
        key = f"client {number}" if chance.random() < 0.5 else ""
        steps = chance.choice(STEPS)
        last_retry = chance.choice((0, 1, 2)) if chance.random() < mix.leave else -1
        for retry in count():
            api, call = chance.choice(self.apis), Call(number, retry, key, steps)
            api.answer(call)
            does_break = retry == last_retry or chance.random() < self.world.mix.broken_line
            holds_s = chance.uniform(*BROKEN_S) if does_break else PATIENT_S
            scheduler.wait(holds_s, lambda c=call, a=api: c.answer is not None or not a.process.is_alive)
            if call.answer is None:
                call.is_gone = True
                self.world.note(f"client {number} loses its connection to {api.process.name}, retry {retry}")
                if retry == last_retry:
                    self._see_it_cancelled(call, api, num_api_ends)
                    break
            elif self._is_answered(call):
                break
            pause_s = min(FIRST_PAUSE_S * 2.0**retry, LONGEST_PAUSE_S)
            scheduler.wait(chance.uniform(0.75, 1.0) * pause_s)
        self.num_waiting -= 1

    @staticmethod
    def _is_answered(call: Call) -> bool:
        """Whether that is an answer for good. Raises Violation for one that no client should get."""
        if call.answer == "drawn" or (isinstance(call.answer, RenderError) and call.answer.code == "lost"):
            return True
        if not isinstance(call.answer, PASSING):
            raise Violation(f"client {call.number} is told {type(call.answer).__name__}: {call.answer}")
        return False

    def _see_it_cancelled(self, call: Call, api: Api, num_api_ends: int) -> None:
        """See that nothing is drawn for a client that left for good, where nothing went wrong meanwhile."""
        world, mix = self.world, self.world.mix
        num_rollbacks, until_s = world.num_rollbacks, grace_s(call.retry) + CANCELLED_S
        world.scheduler.wait(until_s)
        is_quiet = api.process.is_alive and not api.is_stopping and num_api_ends == self.num_api_ends
        is_quiet = is_quiet and num_rollbacks == world.num_rollbacks and world.reachable_s(until_s) >= until_s
        is_heard = not (mix.lost_request or mix.lost_answer or world.mix.lost_request or world.mix.lost_answer)
        if call.batch_id and is_quiet and is_heard and not world.store.has_ended(call.batch_id):
            raise Violation(f"{call.batch_id} is drawn for nobody: client {call.number} left it {until_s} s ago")

    def loop(self) -> Api | DeadLoop:
        """Return the event loop of the process whose turn it is."""
        name = self.world.scheduler.process_name
        return next((api for api in self.apis if api.process.name == name), DeadLoop())


def called(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that waits for no event loop to its end."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    finally:
        work.close()
    raise AssertionError("a coroutine waits for an event loop, and there is none here")


@contextmanager
def in_virtual_loops(clients: Clients) -> Iterator[None]:
    """Let what the fronts ask of threads and event loops be done by the scheduler."""
    numbers = count(1)

    async def run_sync(do: Callable[..., T], *said: Any) -> T:
        return do(*said)

    def new_seat_id() -> str:
        return f"seat {next(numbers)}"

    threads = SimpleNamespace(run_sync=run_sync)
    with (
        mock.patch.object(lobby_module, "asyncio", SimpleNamespace(get_running_loop=clients.loop)),
        mock.patch.object(retries, "to_thread", threads),
        mock.patch.object(waited_batch, "to_thread", threads),
        mock.patch.object(retries, "new_seat_id", new_seat_id),
    ):
        yield
