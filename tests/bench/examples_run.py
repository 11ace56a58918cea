"""Draws the named examples in an engine: at full Stable Diffusion 1.5 size with random weights, unless told otherwise.

    nice python tests/bench/examples_run.py [--out tests/bench/results/examples_sd15.jsonl]
    nice python tests/bench/examples_run.py --checkpoint worker/sigmafarm_worker/bundled_model --own-size --steps 0 \
        [--out tests/bench/results/examples_bundled.jsonl]

The first makes a checkpoint of random weights in a temporary folder and draws those from text to image at 512 x 512
with 2 steps, float32 on one thread of a CPU: about 7 GB of memory, 3 GB of disk. The second draws all of them with the
bundled model, at its own size and with the programs' own numbers of steps. One JSON line an example: its settings,
whether each picture has the asked shape and each latent is finite, seconds. Ends with 1 where one is not as it should
be.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sigmafarm.examples import EXAMPLES, FULL_SIDE_PX, Example
from sigmafarm.one_call import in_one_call
from sigmafarm_common.settings import RenderRequest
from sigmafarm_worker.engine import Engine
from sigmafarm_worker.models import Model, load_model
from sigmafarm_worker.models.random_checkpoint import make_random_checkpoint

#: Pictures at once: what an example draws in one call.
MAX_IMAGES = 2


def main() -> None:
    said = _parsed()
    torch.set_num_threads(1)
    names = said.names or [name for name, each in EXAMPLES.items() if said.checkpoint or not each.has_picture]
    with tempfile.TemporaryDirectory() as folder:
        place = said.checkpoint or make_random_checkpoint(
            Path(folder), size="sd15", sample_size=64, dtype=torch.float16, has_clip_words=True
        )
        model = load_model(place, device="cpu", dtype=torch.float32)
    is_good = True
    for name in names:
        told = _draw(EXAMPLES[name], model, steps=said.steps or None, is_full_size=not said.own_size)
        is_good = is_good and told["is_good"]
        line = json.dumps({**told, "weights": str(said.checkpoint or "random, sd15"), **_about()})
        print(line, flush=True)
        if said.out:
            with said.out.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
    sys.exit(0 if is_good else 1)


def requests_of(example: Example, *, steps: int | None, is_full_size: bool) -> Iterator[RenderRequest]:
    """Yield an example's jobs, as a farm makes them of it."""
    settings = example.defaults(steps=steps, is_full_size=is_full_size)
    rows = in_one_call(example.prompts, settings["seed"]) if example.one_generator else example.prompts
    for row in rows:
        for n in range(example.repeat):
            said = row if isinstance(row, dict) else {"prompt": row}
            yield RenderRequest.parse({**settings, **said, "seed": settings["seed"] + n})


def _draw(example: Example, model: Model, *, steps: int | None, is_full_size: bool) -> dict[str, Any]:
    """Draw an example's pictures together and return what is to be told of it."""
    requests = list(requests_of(example, steps=steps, is_full_size=is_full_size))
    side = FULL_SIDE_PX if is_full_size else model.height
    begin, begin_cpu = time.monotonic(), time.process_time()
    engine, picture = Engine(model, max_images=MAX_IMAGES), example.picture()
    given = None if picture is None else np.asarray(picture.resize((side, side)))
    futures = [engine.submit(request, init_image=given) for request in requests]
    while engine.step():
        pass
    drawn = [future.result(0) for future in futures]
    seconds, cpu_s = time.monotonic() - begin, time.process_time() - begin_cpu
    shapes = {(each.pixels.shape, each.latents.shape) for each in drawn}
    wanted = {((side, side, 3), (4, side // model.vae_factor, side // model.vae_factor))}
    are_finite = all(bool(np.isfinite(each.latents).all()) for each in drawn)
    return {
        "example": example.name,
        "settings": dict(example.defaults(steps=steps, is_full_size=is_full_size)),
        "pictures": len(drawn),
        "shapes": [[list(pixels), list(latents)] for pixels, latents in shapes],
        "are_finite": are_finite,
        "latent_rms": [round(float(np.sqrt(np.square(each.latents).mean())), 3) for each in drawn],
        "warnings": [[warning.code for warning in each.warnings] for each in drawn],
        "is_good": are_finite and shapes == wanted,
        "s": round(seconds, 1),
        "cpu_s": round(cpu_s, 1),
    }


def _about() -> dict[str, Any]:
    """Return where and with what this runs."""
    return {
        "commit": subprocess.run(("git", "rev-parse", "HEAD"), capture_output=True, text=True).stdout.strip(),
        "versions": {name: version(name) for name in ("torch", "diffusers", "transformers")},
        "device": "cpu, float32, one thread",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "max_memory_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"some of {', '.join(EXAMPLES)}")
    parser.add_argument("--checkpoint", type=Path, help="draw with this one instead of random weights")
    parser.add_argument("--steps", type=int, default=2, help="0: the program's own")
    parser.add_argument("--own-size", action="store_true", help="the checkpoint's own size instead of 512 x 512")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
