"""How near LMS comes to a fine trajectory that starts midway, on a given picture: right, and as diffusers starts it.

    nice python tests/bench/start_bench.py [--steps 30] [--out tests/bench/results/lms_start.jsonl]

Two networks: the exact denoiser of normal pictures (in float64), and the bundled model with a prompt, without guidance
(in float32), on its own Karras sigmas and on evenly spaced timesteps, which published checkpoints use. From the same
latents, a picture with the noise of the start step in it, three ways lead to sigma 0: the steps of the table with
`lms_start` "exact" and "diffusers", and Heun's method with some steps for each of theirs (`--fineness`). Each error is
relative to the end of the latter; `levels` is the mean difference of the decoded pixels, of 255. All are means of two
pictures.
`left` needs no network: by how much the weights of the steps miss the change of sigma, which is the noise that a
network that were always right would leave in the picture, beside latents of about 1. One JSON line a run; about two
minutes of one core.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sigmafarm_worker.bundled import bundled_model_path
from sigmafarm_worker.models import load_model
from sigmafarm_worker.sampling.lms import Schedule, SchedulerSettings

SD: Mapping[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
STRENGTHS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
NUM_PICTURES = 2
#: Steps of the fine trajectory for each step of a table, unless others are asked for.
FINENESS = 4
PROMPT = "a red circle"
#: Standard deviation of the normal pictures.
SPREAD = 0.6

#: noise(x, sigma, t): what the network says is noise in x.
Network = Callable[[Tensor, float, float], Tensor]
#: What a strength is told with: by way, or one of both.
Told = dict[str, float]


@dataclass(frozen=True)
class Subject:
    """A network with its schedule, and pictures (latents) to begin with."""

    network: Network
    settings: Mapping[str, Any]
    pictures: Tensor
    dtype: torch.dtype
    #: latents -> pixels, uint8; None where there are none.
    decode: Callable[[Tensor], Tensor] | None = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--fineness", type=int, default=FINENESS)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    begin_s = time.process_time()
    karras = bundled(args.steps)
    even = replace(karras, settings={**karras.settings, "use_karras_sigmas": False})
    line = {
        "commit": subprocess.run(("git", "rev-parse", "HEAD"), capture_output=True, text=True).stdout.strip(),
        "torch": version("torch"),
        "steps": args.steps,
        "fineness": args.fineness,
        "pictures": NUM_PICTURES,
        "analytic": errors_of(
            Subject(normal_pictures, SD, SPREAD * noise(0, 16), torch.float64), args.steps, args.fineness
        ),
        "bundled model, even timesteps": errors_of(even, args.steps, args.fineness),
        "bundled model, Karras sigmas": errors_of(karras, args.steps, args.fineness),
    }
    text = json.dumps({**line, "cpu_s": round(time.process_time() - begin_s, 1)})
    print(text)
    if args.out:
        with args.out.open("a", encoding="utf-8") as file:
            file.write(text + "\n")


def noise(seed: int, side: int) -> Tensor:
    return torch.randn(NUM_PICTURES, 4, side, side, generator=torch.Generator().manual_seed(seed))


def normal_pictures(x: Tensor, sigma: float, t: float) -> Tensor:
    """Return the noise that the exact denoiser of normal pictures sees, bent a little, so that it is not linear."""
    scaled = x / (1 + sigma**2) ** 0.5
    return sigma * x / (SPREAD**2 + sigma**2) + 0.1 * torch.tanh(scaled)


def bundled(num_steps: int) -> Subject:
    """Return the bundled model, with latents of pictures that it drew."""
    model = load_model(bundled_model_path())
    (emb,) = model.prompts.embeddings([model.prompts.tokens(PROMPT)])
    emb_BTD = emb.expand(NUM_PICTURES, -1, -1)

    def answer(x: Tensor, sigma: float, t: float) -> Tensor:
        out = model.unet(x / (1 + sigma**2) ** 0.5, torch.tensor(t), encoder_hidden_states=emb_BTD, return_dict=False)[
            0
        ]
        if model.prediction_type == "epsilon":
            return out
        return (x * sigma / (1 + sigma**2) ** 0.5 + out) / (1 + sigma**2) ** 0.5

    whole = Schedule.make(num_steps, **model.scheduler)
    first = noise(0, model.height // model.vae_factor) * whole.init_noise_sigma
    pictures = walk(whole, answer, first)
    return Subject(answer, model.scheduler, pictures, torch.float32, lambda x: model.decode(x)[0])


def errors_of(subject: Subject, num_steps: int, fineness: int) -> dict[str, dict[str, Told]]:
    """Return by strength how far each way ends from the fine trajectory, and what noise it leaves."""
    whole, found = Schedule.make(num_steps, **subject.settings), dict[str, dict[str, Told]]()
    for strength in STRENGTHS:
        start = num_steps - int(num_steps * strength)
        ways = {way: whole.starting_at(start, as_diffusers=way == "diffusers") for way in ("exact", "diffusers")}
        start_noise = ways["exact"].sigmas[0] * noise(1, subject.pictures.shape[-1])
        z = (subject.pictures + start_noise).to(subject.dtype)
        fine = walk_finely(ways["exact"], subject, z, fineness)
        ends = {way: walk(schedule, subject.network, z) for way, schedule in ways.items()}
        told = {
            "error": {way: error(end, fine) for way, end in ends.items()},
            "left": {way: left(schedule) for way, schedule in ways.items()},
        }
        if subject.decode:
            told["levels"] = {way: levels(subject.decode, end, fine) for way, end in ends.items()}
        found[str(strength)] = told
    return found


def left(schedule: Schedule) -> float:
    """Return by how much the weights of all steps together miss the change of sigma, to three digits."""
    return float(f"{abs(float(schedule.coefficients.sum()) + float(schedule.sigmas[0])):.3g}")


@torch.inference_mode()
def levels(decode: Callable[[Tensor], Tensor], found: Tensor, wanted: Tensor) -> float:
    """Return the mean difference of the decoded pixels, of 255."""
    return round(float((decode(found).float() - decode(wanted).float()).abs().mean()), 2)


@torch.inference_mode()
def walk(schedule: Schedule, network: Network, x: Tensor) -> Tensor:
    """Return where the steps of a schedule lead."""
    history: list[Tensor] = []
    for sigma, t, c_K in zip(schedule.sigmas, schedule.timesteps, schedule.coefficients, strict=False):
        history = [network(x, float(sigma), float(t)), *history][: len(c_K)]
        x = x + sum(float(c) * h for c, h in zip(c_K, history, strict=False))
    return x


@torch.inference_mode()
def walk_finely(schedule: Schedule, subject: Subject, x: Tensor, fineness: int) -> Tensor:
    """Return where dx/dsigma = noise leads, by Heun's method."""
    train, network = train_sigmas(subject.settings), subject.network
    parts = zip(schedule.sigmas[:-1], schedule.sigmas[1:], strict=True)
    sigmas = np.append(np.concatenate([np.linspace(*part, fineness, endpoint=False) for part in parts]), 0.0)
    times = np.interp(sigmas, train, np.arange(len(train)))
    for i in range(len(sigmas) - 1):
        step = float(sigmas[i + 1] - sigmas[i])
        first = network(x, float(sigmas[i]), float(times[i]))
        second = network(x + step * first, float(sigmas[i + 1]), float(times[i + 1]))
        x = x + step * (first + second) / 2
    return x


def train_sigmas(settings: Mapping[str, Any]) -> np.ndarray:
    """Return the noise levels of the training timesteps, rising."""
    known = SchedulerSettings.parse(settings)
    schedule = Schedule.make(
        known.num_train_timesteps, **{**settings, "timestep_spacing": "linspace"}, karras_sigmas=False
    )
    return schedule.sigmas[-2::-1]


def error(found: Tensor, wanted: Tensor) -> float:
    """Return the mean over pictures of the relative norm of the difference, to three digits."""
    return float(f"{float(((found - wanted).flatten(1).norm(dim=1) / wanted.flatten(1).norm(dim=1)).mean()):.3g}")


if __name__ == "__main__":
    main()
