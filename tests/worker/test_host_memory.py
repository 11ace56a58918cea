"""What the C library does with the memory of tensors: kept between passes, given back after a while without work."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from sigmafarm_common.clock import SystemClock
from sigmafarm_worker import host_memory
from sigmafarm_worker.engine import Engine
from sigmafarm_worker.host_memory import GIVE_BACK_AFTER_S, SpareMemory
from sigmafarm_worker.models import Model
from tests.worker.engine.passes import request

#: Pieces of 8 MiB in a thread, one after another, each written to: pages that the system gave for the last 20.
SCRIPT = """
import ctypes, resource, sys, threading
from sigmafarm_worker.host_memory import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = libc.memset.argtypes = None
def use(num):
    for _ in range(num):
        piece = ctypes.c_void_p(libc.malloc(8 << 20))
        libc.memset(piece, 1, ctypes.c_size_t(8 << 20))
        libc.free(piece)
def run():
    use(5)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    use(20)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
thread = threading.Thread(target=run)
thread.start()
thread.join()
"""

#: 200 MiB in small pieces, freed: resident bytes with them, after, and once they are given back.
GIVING_BACK = """
from sigmafarm_worker.engine.resident_memory import process_memory_bytes
from sigmafarm_worker.host_memory import give_back_freed_memory, keep_freed_memory
assert keep_freed_memory()
pieces = [bytes(1 << 16) + b"x" for _ in range(3200)]
print(process_memory_bytes())
del pieces
print(process_memory_bytes())
give_back_freed_memory()
print(process_memory_bytes())
"""

needs_glibc = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")


def pages_of(way: str, **environment: str) -> int:
    said = subprocess.run(
        [sys.executable, "-c", SCRIPT, way], capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert said.returncode == 0, said.stderr
    return int(said.stdout)


@needs_glibc
def test_memory_that_is_freed_serves_what_comes_next():
    page = os.sysconf("SC_PAGE_SIZE")

    assert pages_of("kept") < (8 << 20) // page  # not even one of the twenty came anew
    assert pages_of("plain", MALLOC_MMAP_THRESHOLD_="131072") > 19 * (8 << 20) // page


@needs_glibc
def test_what_the_environment_says_stands():
    page = os.sysconf("SC_PAGE_SIZE")

    assert pages_of("kept", MALLOC_MMAP_THRESHOLD_="131072") > 19 * (8 << 20) // page


def test_another_c_library_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())

    assert not host_memory.keep_freed_memory()
    host_memory.give_back_freed_memory()


@pytest.fixture
def given_back(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """One entry for each time that memory was given back."""
    times: list[None] = []
    monkeypatch.setattr(host_memory, "give_back_freed_memory", lambda: times.append(None))
    return times


def test_memory_is_given_back_once_after_a_while_without_work(given_back: list[None]):
    spare = SpareMemory()
    spare.note(0.0, is_idle=True)
    spare.note(100.0, is_idle=True)
    assert not given_back  # nothing was done yet

    spare.note(101.0, is_idle=False)
    spare.note(101.0 + GIVE_BACK_AFTER_S - 0.1, is_idle=True)
    assert not given_back

    for seconds in range(3):
        spare.note(101.0 + GIVE_BACK_AFTER_S + seconds, is_idle=True)
    assert len(given_back) == 1


class Clock(SystemClock):
    """One that is moved by hand."""

    now_s = 100.0

    def monotonic_s(self) -> float:
        return self.now_s


def test_an_engine_without_work_gives_its_memory_back(
    light: Model, run: Callable[[Engine], None], given_back: list[None]
):
    clock = Clock()
    engine = Engine(light, clock=clock)
    future = engine.submit(request())
    run(engine)
    engine.step()
    assert not given_back

    clock.now_s += GIVE_BACK_AFTER_S
    for _ in range(3):
        engine.step()

    assert len(given_back) == 1
    assert future.done()


@needs_glibc
def test_what_is_given_back_is_the_systems_again():
    said = subprocess.run([sys.executable, "-c", GIVING_BACK], capture_output=True, text=True, check=True)
    with_pieces, freed, given_back = map(int, said.stdout.split())

    assert with_pieces - given_back > 150 << 20
    assert freed - given_back > 150 << 20  # until then it was kept
