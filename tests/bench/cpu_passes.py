"""A CPU's passes of the bundled UNet in the engine's thread: by the order of an image's numbers, and by what the C
library does with freed memory. Each way is a process; they take turns, pass by pass.

    python -m tests.bench.cpu_passes [--sizes 32x16 16x32 4x64] [--rounds 15]
                                     [--out tests/bench/results/cpu_passes.jsonl]

A size is rows x latents along a side. Prints a table and a JSON line a size: milliseconds of a row, its median ratio to
the first way, pages had from the system in a pass, resident memory in MB at its peak and at the end.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.bench.about import about, put_down

#: By name: whether images lie pixel by pixel, and whether freed memory is kept.
WAYS = {
    "channel by channel, the C library's own": (False, False),
    "pixel by pixel": (True, False),
    "freed memory kept": (False, True),
    "both": (True, True),
}


class Pass(NamedTuple):
    """What one took."""

    seconds: float
    num_pages: int
    peak_mb: int
    resident_mb: int


def make_passes(is_by_pixel: bool, is_kept: bool, num_rows: int, side: int) -> None:
    """Make a pass for each line of standard input, and print what it took."""
    if is_kept:
        from sigmafarm_worker.host_memory import keep_freed_memory

        assert keep_freed_memory(), "this C library has no such settings"
    import torch

    from sigmafarm_common.models_file import ModelSpec
    from sigmafarm_worker.bundled import bundled_model_path
    from sigmafarm_worker.engine.resident_memory import process_memory_bytes
    from sigmafarm_worker.engine.unet_pass import EagerPass
    from sigmafarm_worker.models import load_model

    torch.set_num_threads(1)
    model = load_model(ModelSpec(name="bundled", path=str(bundled_model_path())), device="cpu")
    model.unet.to(memory_format=torch.channels_last if is_by_pixel else torch.contiguous_format)
    unet_pass = EagerPass(model)
    x, t = torch.randn(num_rows, 4, side, side), torch.linspace(999, 0, num_rows)
    emb = torch.randn(num_rows, 77, model.prompts.width)

    @torch.inference_mode()
    def run() -> None:
        unet_pass(x, t, emb)
        print("ready", flush=True)
        for _ in sys.stdin:
            pages, began_s = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.perf_counter()
            unet_pass(x, t, emb)
            seconds, usage = time.perf_counter() - began_s, resource.getrusage(resource.RUSAGE_SELF)
            resident = process_memory_bytes() >> 20
            print(seconds, usage.ru_minflt - pages, usage.ru_maxrss >> 10, resident, flush=True)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


@contextmanager
def a_process(way: str, size: str) -> Iterator[subprocess.Popen[str]]:
    """Run a process that makes passes."""
    command = [sys.executable, "-m", "tests.bench.cpu_passes", "--sizes", size, "--way", way]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, **pipes) as process:
        assert process.stdout
        assert process.stdout.readline().strip() == "ready"
        yield process
        process.communicate()


def a_pass(process: subprocess.Popen[str]) -> Pass:
    """Have a pass made."""
    assert process.stdin
    assert process.stdout
    process.stdin.write("\n")
    process.stdin.flush()
    seconds, *numbers = process.stdout.readline().split()
    return Pass(float(seconds), *map(int, numbers))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["32x16", "16x32", "4x64"])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    said = parser.parse_args()
    for size in said.sizes:
        num_rows, side = map(int, size.split("x"))
        if said.way:
            make_passes(*WAYS[said.way], num_rows, side)
            return
        with ExitStack() as stack:
            processes = {way: stack.enter_context(a_process(way, size)) for way in WAYS}
            rounds = [{way: a_pass(process) for way, process in processes.items()} for _ in range(said.rounds)]
        first = next(iter(WAYS))
        found = {
            way: {
                "row_ms": round(statistics.median(each[way].seconds for each in rounds) * 1000 / num_rows, 2),
                "ratio": round(statistics.median(each[way].seconds / each[first].seconds for each in rounds), 3),
                "pages": int(statistics.median(each[way].num_pages for each in rounds)),
                "mb": rounds[-1][way][2:],
            }
            for way in WAYS
        }
        print(f"{num_rows} rows of {side} x {side} latents")
        print(*(f"  {way:40} {figures}" for way, figures in found.items()), sep="\n")
        put_down({"bench": "cpu_passes", "rows": num_rows, "side": side, "ways": found, **about("torch")}, said.out)


if __name__ == "__main__":
    main()
