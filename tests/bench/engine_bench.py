"""How fast the engine draws, beside diffusers' pipeline with the same model in the same run.

    python tests/bench/engine_bench.py --size tiny|sd15 --device cpu|cuda [--out tests/bench/results/engine.jsonl]

Three ways to draw the same requests take turns, so that they see the same machine; the best round of each counts (on a
CPU in the process's own time, so that other programs on the machine do not):

    b0      diffusers' pipeline with LMSDiscreteScheduler, one picture a call: what the reference programs do
    b1      the same pipeline in static batches of up to 16 requests of one (steps, guidance) key, sorted by key
    engine  continuous batching, all requests submitted at once, up to 16 slots

and two settings: `homogeneous` (one number of steps, one guidance) and `mixed` (steps 20 to 80, guidance 1, 4 and 7.5).
Before that: whether the pictures are equal, bare UNet passes of as many rows (the oracle), the matmul rate and
the scheduler's host time. Prints one JSON line per setting. Ratios within a line mean something on any machine; times
only beside their device.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402 - after the path
import torch  # noqa: E402
from diffusers import LMSDiscreteScheduler, StableDiffusionPipeline  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from sigmafarm_common.settings import RenderRequest  # noqa: E402
from sigmafarm_worker.engine import Engine  # noqa: E402
from sigmafarm_worker.models import Model, default_dtype, load_model  # noqa: E402
from sigmafarm_worker.models.random_checkpoint import make_random_checkpoint  # noqa: E402
from sigmafarm_worker.sampling import lms  # noqa: E402
from sigmafarm_worker.sampling.lms import Schedule  # noqa: E402
from tests.bench.about import about  # noqa: E402

#: Slots of the engine, and pictures of a static batch.
MAX_IMAGES = 16
#: Steps and guidance of the mixed setting.
MIXED_STEPS, MIXED_GUIDANCE = (20, 30, 40, 50, 60, 80), (1.0, 4.0, 7.5)


def main() -> None:
    args = parsed_arguments()
    torch.set_num_threads(args.threads)
    dtype = getattr(torch, args.dtype) if args.dtype else default_dtype(args.device)
    with tempfile.TemporaryDirectory() as folder:
        sample_size = args.latent_size or (8 if args.size == "tiny" else 64)
        make_random_checkpoint(folder, size=args.size, sample_size=sample_size)
        bench = Bench(Path(folder), args, dtype)
        for line in bench.lines():
            print(json.dumps(line), flush=True)
            if args.out:
                args.out.parent.mkdir(parents=True, exist_ok=True)
                with args.out.open("a") as file:
                    file.write(json.dumps(line) + "\n")


def parsed_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=["tiny", "sd15"], default="tiny")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=["float32", "float16", "bfloat16"])
    parser.add_argument("--latent-size", type=int, help="height and width of the latents; 8 for tiny, 64 for sd15")
    parser.add_argument("--images", type=int, default=48, help="requests of each setting")
    parser.add_argument("--steps", type=int, default=50, help="steps of the homogeneous setting")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compile", action="store_true", help="torch.compile the pipeline's UNet (b0 and b1)")
    parser.add_argument(
        "--compile-engine", action="store_true", help="torch.compile the engine's UNet, and the oracle's"
    )
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


class Bench:
    """One model, loaded twice: in an engine, and in diffusers' pipeline."""

    def __init__(self, folder: Path, args: argparse.Namespace, dtype: torch.dtype):
        self.args, self.dtype = args, dtype
        self.model = load_model(folder, device=args.device, dtype=dtype)
        self.pipe = loaded_pipeline(folder, args, dtype)
        self.common = {
            "bench": "engine",
            "size": args.size,
            "latents": self.model.height // self.model.vae_factor,
            "dtype": str(dtype).removeprefix("torch."),
            "threads": args.threads,
            "max_images": MAX_IMAGES,
            "rounds": args.rounds,
            "compiled": {"pipeline": args.compile, "engine": args.compile_engine},
            **about("torch", "diffusers", "transformers", device=args.device),
        }

    def lines(self) -> Iterator[dict[str, Any]]:
        yield {**self.common, "setting": "machine", **self.machine()}
        yield {**self.common, "setting": "equality", **self.equality()}
        yield {**self.common, "setting": "scheduler", **scheduler_times()}
        yield {**self.common, "setting": "homogeneous", **self.drawing(self.homogeneous())}
        yield {**self.common, "setting": "mixed", **self.drawing(self.mixed())}

    # What is drawn

    def homogeneous(self) -> list[RenderRequest]:
        return [self.request(i, self.args.steps, 7.5) for i in range(self.args.images)]

    def mixed(self) -> list[RenderRequest]:
        return [
            self.request(i, MIXED_STEPS[i % len(MIXED_STEPS)], MIXED_GUIDANCE[i // len(MIXED_STEPS) % 3])
            for i in range(self.args.images)
        ]

    def request(self, seed: int, num_steps: int, guidance: float) -> RenderRequest:
        said = {"prompt": f"thing {seed}", "num_inference_steps": num_steps, "guidance_scale": guidance, "seed": seed}
        return RenderRequest.parse(said).resolved(self.model.defaults)

    # Who draws

    def drawing(self, requests: list[RenderRequest]) -> dict[str, Any]:
        engine = self.engine()
        engine.warm_up()
        ways: dict[str, Callable[[list[RenderRequest]], object]] = {
            "b0": lambda some: [self.call([r]) for r in some],
            "b1": self.draw_static,
            "engine": lambda some: self.draw_continuous(engine, some),
        }
        seconds = rounds(ways, requests, self.args.rounds)
        stats, best = engine.stats, {name: min(times) for name, times in seconds.items()}
        row_steps = sum(num_rows(r) * (r.num_inference_steps or 0) for r in requests)
        flops = row_steps * unet_flops(self.model)
        return {
            "images": len(requests),
            "seconds": {name: [round(s, 3) for s in times] for name, times in seconds.items()},
            "images_per_s": {name: round(len(requests) / s, 3) for name, s in best.items()},
            "engine_over_b0": round(best["b0"] / best["engine"], 3),
            "engine_over_b1": round(best["b1"] / best["engine"], 3),
            "engine_step_ms": round(stats.step_s * 1e3, 2),
            "engine_unet_flops_over_matmul": round(flops / best["engine"] / self.matmul_rate, 4),
            "engine_over_oracle": round(row_steps * self.oracle_row_s / best["engine"], 3),
            "padded_rows": round(stats.num_padded_rows / stats.num_rows, 4),
            "fill_under_load": ratio(stats.num_slot_steps_under_load, stats.num_slots_offered_under_load),
            "builds_after_warm_up": stats.num_builds - engine_builds(self.model),
        }

    def engine(self) -> Engine:
        return Engine(self.model, MAX_IMAGES, is_compiled=self.args.compile_engine)

    def draw_continuous(self, engine: Engine, requests: list[RenderRequest]) -> None:
        futures = [engine.submit(r) for r in requests]
        while engine.step():
            pass
        for future in futures:
            future.result(0)

    def draw_static(self, requests: list[RenderRequest]) -> None:
        def key(r: RenderRequest) -> tuple[Any, ...]:
            return r.num_inference_steps, r.guidance_scale

        for _, group in groupby(sorted(requests, key=key), key):
            same = list(group)
            for at in range(0, len(same), MAX_IMAGES):
                self.call(same[at : at + MAX_IMAGES])

    def call(self, requests: list[RenderRequest], output_type: str = "np") -> Any:
        first = requests[0]
        return self.pipe(
            [r.prompt for r in requests],
            num_inference_steps=first.num_inference_steps,
            guidance_scale=first.guidance_scale,
            height=first.height,
            width=first.width,
            generator=[torch.Generator("cpu").manual_seed(r.seed or 0) for r in requests],
            output_type=output_type,
        ).images

    # What it stands beside

    def machine(self) -> dict[str, Any]:
        self.matmul_rate = matmul_rate(self.args.device, self.dtype)
        is_compiled = self.args.compile_engine
        self.oracle_row_s = oracle_row_s(self.model, 2 * MAX_IMAGES, is_compiled=is_compiled)
        return {
            "matmul_gflop_per_s": round(self.matmul_rate / 1e9, 1),
            "unet_row_gflop": round(unet_flops(self.model) / 1e9, 4),
            "oracle_step_ms": round(self.oracle_row_s * 2 * MAX_IMAGES * 1e3, 3),
            "oracle_flops_over_matmul": round(unet_flops(self.model) / self.oracle_row_s / self.matmul_rate, 4),
        }

    def equality(self) -> dict[str, Any]:
        """Return the largest relative difference to the pipeline (given our noise), and to the same picture alone."""
        requests = self.mixed()[: MAX_IMAGES + 2]
        engine = self.engine()
        if self.args.compile_engine:
            engine.warm_up()
        futures = [engine.submit(r) for r in requests]
        while engine.step():
            pass
        to_pipeline, to_alone = [0.0], [0.0]
        for request, future in list(zip(requests, futures, strict=True))[:6]:
            found = future.result(0).latents
            if self.dtype == torch.float32:
                to_pipeline.append(difference(found, self.call([request], "latent")[0].float().cpu().numpy()))
            alone = engine.submit(request)
            while engine.step():
                pass
            to_alone.append(difference(found, alone.result(0).latents))
        return {"latents_to_pipeline": max(to_pipeline), "latents_to_alone": max(to_alone)}


def num_rows(request: RenderRequest) -> int:
    return 2 if (request.guidance_scale or 0) > 1 else 1


def rounds(ways: dict[str, Callable[[Any], object]], work: Any, num_rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each way in each round; a sixteenth of the work warms each up and is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way(work[: max(1, len(work) // 16)])
    for _ in range(num_rounds):
        for name, way in ways.items():
            seconds[name].append(timed(way, work))
    return seconds


def timed(way: Callable[[Any], object], work: Any, clock: Callable[[], float] | None = None) -> float:
    """Return how long a call takes: unless a clock is said, the wall's time with a GPU; on a CPU the process's own,
    which does not count what other programs took from it (with one thread the two are equal on an idle machine)."""
    clock = clock or (time.perf_counter if torch.cuda.is_available() else time.process_time)
    synchronize()
    began_s = clock()
    way(work)
    synchronize()
    return clock() - began_s


def scheduler_times(num_steps: int = 50, repeats: int = 5) -> dict[str, Any]:
    """Return the scheduler's host time per image and step: a table made anew, beside diffusers' step on one picture."""
    settings: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}

    def ours(_: Any) -> None:
        lms._schedule.cache_clear()
        Schedule.make(num_steps, **settings).table()

    def theirs(_: Any) -> None:
        scheduler.set_timesteps(num_steps)
        x = torch.zeros(1, 4, 8, 8)
        for t in scheduler.timesteps:
            scheduler.step(scheduler.scale_model_input(x, t), t, x)

    scheduler = LMSDiscreteScheduler(**settings)
    seconds = rounds({"ours": ours, "theirs": theirs}, [None], repeats)
    ours_s, theirs_s = min(seconds["ours"]) / num_steps, min(seconds["theirs"]) / num_steps
    return {
        "ours_us_per_step": round(ours_s * 1e6, 2),
        "diffusers_us_per_step": round(theirs_s * 1e6, 1),
        "ours_over_diffusers": round(ours_s / theirs_s, 5),
    }


@torch.inference_mode()
def oracle_row_s(
    model: Model,
    num_rows: int,
    repeats: int = 20,
    *,
    clock: Callable[[], float] | None = None,
    is_compiled: bool = False,
) -> float:
    """Return the seconds of a row in bare UNet passes of the fullest batch, as the engine makes them, by a clock."""
    from sigmafarm_common.clock import SystemClock
    from sigmafarm_worker.engine.stepping import make_passes

    passes = make_passes({model.name: model}, model.device, SystemClock(), is_compiled=is_compiled)
    unet_pass = passes[model.name]
    x, t, emb = unet_inputs(model, num_rows)
    unet_pass.warm_up(*x.shape[2:], num_rows)
    seconds = [timed(lambda _: unet_pass(x, t, emb), None, clock) for _ in range(repeats)]
    return statistics.median(seconds) / num_rows


def unet_flops(model: Model) -> float:
    """Return the floating-point operations of one row, counted by torch."""
    x, t, emb = unet_inputs(model, 1)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.unet(x.to(model.dtype), t, encoder_hidden_states=emb)
    return float(counter.get_total_flops())


def unet_inputs(model: Model, num_rows: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    side = model.height // model.vae_factor
    x = torch.randn(num_rows, 4, side, side, device=model.device)
    t = torch.linspace(999, 0, num_rows, device=model.device)
    return x, t, torch.randn(num_rows, 77, model.prompts.width, device=model.device, dtype=model.dtype)


def matmul_rate(device: str, dtype: torch.dtype) -> float:
    """Return FLOP/s of a large square product, the best of ten."""
    n = 8192 if device.startswith("cuda") else 1024
    a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(10):
        best = min(best, timed(lambda _: a @ b, None))
    return 2 * n**3 / best


def engine_builds(model: Model) -> int:
    """Return how many graphs a warm-up builds."""
    engine = Engine(model, MAX_IMAGES)
    engine.warm_up()
    return engine.stats.num_builds


def loaded_pipeline(folder: Path, args: argparse.Namespace, dtype: torch.dtype) -> Any:
    options: dict[str, Any] = {"safety_checker": None, "requires_safety_checker": False, "torch_dtype": dtype}
    pipe = StableDiffusionPipeline.from_pretrained(folder, **options).to(args.device)
    pipe.set_progress_bar_config(disable=True)
    if args.device.startswith("cuda"):
        pipe.unet.to(memory_format=torch.channels_last)
    if args.compile:
        pipe.unet = torch.compile(pipe.unet)
    return pipe


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def difference(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def ratio(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


if __name__ == "__main__":
    sys.exit(main())
