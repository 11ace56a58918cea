"""`python -m tests.programs.nursery KIND FD`: imports what a kind of programs needs, then forks one after the other.

A request comes over the socket: what to run, with which variables, in which folder, and the descriptors. The fork is
made twice, and the one between ends at once: so the program's parent is the nearest process above that takes orphans,
which is the one that asked. The answer is its pid.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import sys
from collections.abc import Iterable
from importlib.metadata import entry_points
from types import SimpleNamespace
from typing import Any

from tests.programs import started

#: What the programs of a kind import, but for the modules that they run as `__main__`, and for those that look at the
#: terminal when they are imported.
_FARM = (
    "sigmafarm.farm",
    "sigmafarm.http.server",
    "sigmafarm_common.adoption",
    "sigmafarm_common.check",
    "sigmafarm_common.doctor.examination",
    "sigmafarm_common.farm_sweep",
    "sigmafarm_common.objects.s3",
    "sigmafarm_common.concluder",
    "sigmafarm_common.keeper",
    "sigmafarm_common.store.redis_store",
    "sigmafarm_common.uploads.storing",
    "sigmafarm_worker.service.devices",
    "sigmafarm_worker.service.process",
    "sigmafarm_worker.service.supervisor",
    "typer",
    "typer.rich_utils",
)
#: What tests import beside it, a library's slow parts. Whatever is not here, each process imports by itself.
_ENGINE = (
    "sigmafarm_worker.service.making_engine",
    "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion",
    "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_img2img",
    "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_inpaint",
    "cryptography.x509",
    "httpx2",
    "openai.types.responses",
    "playwright.sync_api",
    "sd_backend_client",
    "webuiapi",
)
KINDS = {
    "farm": (*_FARM, "tests.chaos.simulated_engine", "sigmafarm_worker.__main__"),
    "engine": (*_FARM, "sigmafarm_worker.service.making_engine"),
    "tests": (*_FARM, *_ENGINE),
}
#: What pytest looks for in a plugin's module that it shall take as it is.
TAKEN_AS_IS = "PYTEST_DONT_REWRITE"
#: One of the processes that share the tests.
SHARER = "tests.programs.sharer"
#: Programs that start others of the same kind, unless they are told that they are such a one.
PARENTS = frozenset({"sigmafarm_worker", "tests.chaos.simulated_worker"})
CHILD = "--worker-id"
#: prctl's number for "signal me when my parent dies".
PR_SET_PDEATHSIG = 1
#: Descriptors below are ours; what a program gets waits above, until its own place is free.
FIRST_FREE = 900
MAX_MESSAGE = 1 << 20

Request = dict[str, Any]


def serve(asks: socket.socket) -> Request:
    """Fork for every request until nobody asks any more. Returns in each forked process, with its request."""
    while True:
        message, descriptors, _, _ = socket.recv_fds(asks, MAX_MESSAGE, 32)
        if not message:
            os._exit(0)
        request = json.loads(message)
        ends, begins = os.pipe()
        between = os.fork()
        if between == 0 and (pid := os.fork()):
            os.write(begins, str(pid).encode())
            os._exit(0)
        if between == 0:
            _take_descriptors(descriptors, request["kept"])
            return request
        os.waitpid(between, 0)  # from here on the program has its parent
        os.close(begins)
        asks.send(os.read(ends, 100))
        for each in (ends, *descriptors):
            os.close(each)


def become(request: Request) -> None:
    """Run a request's program in this process as `python -m` does."""
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    module, *_ = request["argv"]
    sys.argv = ["", *request["argv"][1:]]
    sys.path[0] = request["folder"]
    sys.stdin, sys.stdout, sys.stderr = (_stream(n) for n in range(3))
    if module in PARENTS and CHILD not in sys.argv:
        _let_it_fork()
    elif module == SHARER:
        started.nurseries["engine"] = _own_nursery()
    os.execve = _become_another
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _become_another(_path: str, argv: list[str], environment: dict[str, str]) -> None:
    """Go on as another module in this process, as it would after execve with nothing imported."""
    assert argv[:2] == [sys.executable, "-m"], argv
    become({"argv": argv[2:], "environment": environment, "folder": os.getcwd()})
    sys.exit()


def _take_descriptors(descriptors: list[int], kept: list[int]) -> None:
    """Put the descriptors that came where they belong, and close all others."""
    waiting = [os.dup2(each, FIRST_FREE + n, inheritable=False) for n, each in enumerate(descriptors)]
    os.closerange(0, FIRST_FREE)
    for each, place in zip(waiting, (0, 1, 2, *kept), strict=True):
        os.dup2(each, place)
    os.closerange(FIRST_FREE, FIRST_FREE + len(waiting))


def _stream(number: int) -> Any:
    """Return Python's file of a standard stream, as an interpreter opens it."""
    if number == 0:
        return open(0, encoding="utf-8", closefd=False)
    errors = "backslashreplace" if number == 2 else "surrogateescape"
    is_unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    file = open(number, "w", encoding="utf-8", errors=errors, closefd=False)  # noqa: SIM115 - it stays open
    file.reconfigure(line_buffering=number == 2 or os.isatty(number), write_through=is_unbuffered)
    return file


def _let_it_fork() -> None:
    """Give a program that starts workers a nursery of its own, and have its supervisor use it."""
    own = _own_nursery()
    for kind in KINDS:
        started.nurseries[kind] = own
    from sigmafarm_worker.service import supervisor

    supervisor.subprocess = SimpleNamespace(Popen=started.start)


def _own_nursery() -> started.Nursery:
    """Return a nursery with this process's imports that is its child, made while it has one thread. It ends with this
    process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        ours.close()
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1):  # whoever reads what this process writes shall see its end
            os.dup2(nothing, stream)
        os.close(nothing)
        become(serve(theirs))
        sys.exit()
    theirs.close()
    own = started.Nursery(ours)
    atexit.register(own.close)
    return own


def _leave_as_is(plugins: Iterable[str]) -> None:
    """Tell pytest of plugins that are imported here already, as parts of what the farm uses: it would rewrite their
    asserts, and warns that it cannot."""
    for package in {name.partition(".")[0] for name in plugins} & sys.modules.keys():
        sys.modules[package].__doc__ = f"{sys.modules[package].__doc__} {TAKEN_AS_IS}"


def main() -> None:
    kind, number = sys.argv[1:]
    gc.disable()
    for name in KINDS[kind]:
        importlib.import_module(name)
    if kind == "tests":
        _leave_as_is(entry.module for entry in entry_points(group="pytest11"))
    gc.freeze()  # so that forks share the memory
    gc.enable()
    become(serve(socket.socket(fileno=int(number))))


if __name__ == "__main__":
    main()
