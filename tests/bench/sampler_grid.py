"""How near every sampler comes to diffusers' own scheduler, over the whole grid: one JSON line a combination.

    python tests/bench/sampler_grid.py [--steps 1,2,50] [--predicts v_prediction] [--out FILE]

A small random UNet (8 x 8 latents, float32, guided), every sampler with and without Karras sigmas, noise and v
prediction, 1 to 50 steps. Each picture is drawn three times: by diffusers' scheduler in the loop of its pipelines, by
an engine alone, and by an engine that holds all pictures of a run at once. Figures are relative norms of the
latents' differences. What both refuse, or answer with NaN, says so. Exit code 1 if a figure is over its limit. FILE
(tests/bench/results/sampler_grid.jsonl) is added to: a line that describes the run, then its own.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from sigmafarm_common.settings import RenderRequest  # noqa: E402
from sigmafarm_worker.engine import Engine  # noqa: E402
from sigmafarm_worker.models import Model, load_model  # noqa: E402
from sigmafarm_worker.models.random_checkpoint import make_random_checkpoint  # noqa: E402
from tests.worker.plain_loop import VARIANTS, draw_plainly  # noqa: E402

#: Steps of the grid.
STEPS = (1, 2, 3, 4, 5, 8, 13, 20, 35, 50)
#: What its networks predict.
PREDICTS = ("epsilon", "v_prediction")
#: Relative norms: to diffusers' latents, and of a picture in company to the same alone.
TO_DIFFUSERS, TO_ALONE = 1e-4, 1e-5
RESULTS = ROOT / "tests/bench/results/sampler_grid.jsonl"


def main() -> int:
    """Run the grid, print and write its lines, and return whether a figure is over its limit."""
    args = parse_arguments()
    torch.set_num_threads(1)
    lines = [head(args)]
    for prediction_type in args.predicts:
        with tempfile.TemporaryDirectory() as folder:
            model = load_model(make_random_checkpoint(folder, prediction_type=prediction_type))
            for line in compare(model, requests(args.steps, args.guidance)):
                lines.append({"prediction_type": prediction_type, **line})
                print(json.dumps(lines[-1]), flush=True)
    with args.out.open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    over = [line for line in lines if line.get("is_over")]
    print(f"{len(lines) - 1} combinations, {len(over)} over a limit", *map(json.dumps, over), sep="\n")
    return 1 if over else 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=lambda text: [int(n) for n in text.split(",")], default=list(STEPS))
    parser.add_argument("--predicts", choices=PREDICTS, action="append", help="both, unless said")
    parser.add_argument("--guidance", type=float, default=7.5)
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    args.predicts = args.predicts or PREDICTS
    return args


def head(args: argparse.Namespace) -> dict[str, Any]:
    """Return the first line: what the grid was run with."""
    described = ["git", "describe", "--always", "--dirty"]
    return {
        "bench": "sampler_grid",
        "guidance_scale": args.guidance,
        "limits": {"to_diffusers": TO_DIFFUSERS, "company_to_alone": TO_ALONE},
        "commit": subprocess.run(described, capture_output=True, text=True, cwd=ROOT, check=True).stdout.strip(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "diffusers", "numpy")},
    }


def requests(steps: list[int], guidance_scale: float) -> list[RenderRequest]:
    return [
        RenderRequest(
            prompt=f"thing {seed}",
            negative_prompt="grey",
            sampler=sampler.name,
            karras_sigmas=karras,
            num_inference_steps=num_steps,
            guidance_scale=guidance_scale,
            seed=seed,
        )
        for num_steps in steps
        for seed, (sampler, karras) in enumerate(VARIANTS)
    ]


def compare(model: Model, requests: list[RenderRequest]) -> Iterator[dict[str, Any]]:
    """Yield what each combination came to; those that draw share one batch."""
    company = draw(model, requests)
    for request, in_company in zip(requests, company, strict=True):
        (alone,) = draw(model, [request])
        line = {
            "sampler": request.sampler,
            "karras": request.karras_sigmas,
            "steps": request.num_inference_steps,
        }
        yield {**line, **figures(alone, in_company, draw_theirs(model, request))}


def draw(model: Model, requests: list[RenderRequest]) -> list[np.ndarray | str]:
    """Return the latents of requests that share one engine, or why one has none."""
    engine = Engine(model, max_images=len(requests))
    futures = [engine.submit(request) for request in requests]
    while engine.step():
        pass
    return [future.result(0).latents if future.exception(0) is None else str(future.exception(0)) for future in futures]


def draw_theirs(model: Model, request: RenderRequest) -> np.ndarray | str:
    try:
        latents = draw_plainly(model, request)
    except (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError) as error:
        return str(error)
    return latents if np.isfinite(latents).all() else "not finite"


def figures(alone: np.ndarray | str, in_company: np.ndarray | str, theirs: np.ndarray | str) -> dict[str, Any]:
    """Return the relative differences, or who had no picture and why."""
    if isinstance(alone, str) or isinstance(in_company, str) or isinstance(theirs, str):
        said = {"ours": alone, "in_company": in_company, "diffusers": theirs}
        refusals = {name: value for name, value in said.items() if isinstance(value, str)}
        return {"no_picture": refusals, "is_over": len(refusals) < len(said)}
    to_diffusers, to_alone = difference(alone, theirs), difference(in_company, alone)
    mixed = difference(in_company, theirs)
    is_over = max(to_diffusers, mixed) > TO_DIFFUSERS or to_alone > TO_ALONE
    found = {"alone_to_diffusers": to_diffusers, "company_to_diffusers": mixed, "company_to_alone": to_alone}
    return {name: float(f"{value:.2g}") for name, value in found.items()} | ({"is_over": True} if is_over else {})


def difference(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


if __name__ == "__main__":
    sys.exit(main())
