"""One of the processes that share the tests (pytest-xdist's workers), forked with its imports made.

Each of them would import the same libraries, torch among them, before its first test: seconds of a core. `fork_them`
has execnet, which starts them, ask a nursery; run as a module this is what execnet's command line does.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from execnet import gateway_io
from execnet.gateway_base import Popen2IO

from tests import programs


class ForkedIO(Popen2IO):
    """The streams of a forked process, and the process: execnet's own for one that it starts."""

    def __init__(self, _command: list[str], execmodel: Any):
        (theirs_in, stdin), (stdout, theirs_out) = os.pipe(), os.pipe()
        self.popen = programs.start([sys.executable, "-m", "tests.programs.sharer"], stdin=theirs_in, stdout=theirs_out)
        os.close(theirs_in)
        os.close(theirs_out)
        super().__init__(os.fdopen(stdin, "wb"), os.fdopen(stdout, "rb"), execmodel=execmodel)

    def wait(self) -> int | None:
        return self.popen.wait()

    def kill(self) -> None:
        self.popen.kill()


def fork_them() -> None:
    """Have the processes that pytest-xdist asks for forked."""
    gateway_io.Popen2IOMaster = ForkedIO  # type: ignore[misc]


if __name__ == "__main__":
    exec(eval(sys.stdin.readline()))
