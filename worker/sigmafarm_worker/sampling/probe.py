"""A scheduler of diffusers becomes a table, by trying it out.

A step of a scheduler is linear in what it is given: its latents, the network's answers, its noise. So it is run once on
random numbers in their place, in float64, and each of its steps is fitted by the row that explains it. What the row
does not explain, the residual, is the proof: one that is not linear (thresholding, clipped samples), or looks further
back than the history, leaves much, and is refused. The maths of a sampler stays the library's.

Letters: N calls, K ages, D numbers in a probe.
"""

from __future__ import annotations

import copy
import inspect
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import diffusers
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sigmafarm_common.errors import InvalidSettings
from sigmafarm_common.samplers import Sampler
from sigmafarm_worker.sampling.midway import FROM_NOISE, PICTURE, Midway, begin, level_of_noise
from sigmafarm_worker.sampling.table import HISTORY, NOISE_ALONE, Kept, Level, Table, columns, factors, previews, seen

#: Numbers in a probe: ten times the unknowns of a row.
PROBE_SIZE = 64
#: The largest part of a step, relative to what it gives, that its row may leave unexplained. What schedulers do in
#: float32 leaves 4e-8; what is not linear, 1e-2 and more.
MAX_RESIDUAL = 1e-6
#: Schedulers kept to copy, by their class and settings.
NUM_CONSTRUCTED = 64
#: How many times as much cancelling is no reason yet to keep something else.
MUCH = 2.0
#: Of how little a column may be left, relative to the others, before it counts as a combination of them.
_RANK_LIMIT = 1e-12
#: What is not linear, and is no part of Stable Diffusion's pipelines either, which switch it off.
LINEAR = {"thresholding": False, "clip_sample": False}


class _Call(NamedTuple):
    """One call of the network as the scheduler saw it. Probes are float64 [D]."""

    t: float
    c_in: float
    level: Level
    x: NDArray[np.float64]
    output: NDArray[np.float64]
    #: None where nothing was drawn.
    noise: NDArray[np.float64] | None
    #: The latents after it.
    after: NDArray[np.float64]
    #: What diffusers puts outside a mask after it; None where no picture is given.
    outside: Level | None


class _Fit(NamedTuple):
    """How well one choice of h explains all steps."""

    kept: Kept
    residual: float
    #: How much larger the terms of a row are than their sum: what float32 loses in adding them.
    cancelling: float
    #: [N], [N, K], [N].
    alpha: NDArray[np.float64]
    c: NDArray[np.float64]
    s: NDArray[np.float64]


def probe(
    sampler: Sampler,
    num_steps: int,
    settings: Mapping[str, Any],
    midway: Midway = FROM_NOISE,
    *,
    karras_sigmas: bool,
) -> Table:
    """Return the table of a sampler of diffusers. `settings` are those of a scheduler_config.json; what the class does
    not know is left aside, as diffusers does. Raises InvalidSettings for what it does not take."""
    prediction_type = settings.get("prediction_type", "epsilon")
    try:
        scheduler = _make(sampler, settings, karras_sigmas)
        scheduler.set_timesteps(num_steps)
        _make_exact(scheduler)
        timesteps = begin(scheduler, sampler, midway)
        start = NOISE_ALONE if midway.start_step is None else level_of_noise(scheduler, timesteps[0])
        calls = list(_run(scheduler, timesteps, has_picture=midway.start_step is not None))
    except (ArithmeticError, AssertionError, ImportError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise InvalidSettings(
            f"sampler {sampler.name} cannot draw {num_steps} steps with this model: {error}"
        ) from error
    fit = _best_fit(calls, prediction_type)
    if fit.residual > MAX_RESIDUAL:
        raise InvalidSettings(
            f"sampler {sampler.name}: the steps of {sampler.scheduler} are no rows of a table (they leave "
            f"{fit.residual:.1g} unexplained, more than {MAX_RESIDUAL:g}): this farm cannot draw with it"
        )
    a, b = zip(*(factors(fit.kept, call.level, prediction_type) for call in calls), strict=True)
    t, c_in, levels = [call.t for call in calls], [call.c_in for call in calls], [call.level for call in calls]
    return Table(
        rows=columns(
            t=t,
            c_in=c_in,
            a=a,
            b=b,
            alpha=fit.alpha,
            c=fit.c,
            s=fit.s,
            seen=seen(levels, prediction_type),
            outside=[call.outside for call in calls if call.outside],
        ),
        sigmas=np.array([level.sigma for level in levels]),
        previews=previews(fit.kept, levels, prediction_type),
        draws=np.array([call.noise is not None for call in calls]),
        init_noise_sigma=float(scheduler.init_noise_sigma),
        start=start,
    )


def _make(sampler: Sampler, settings: Mapping[str, Any], karras_sigmas: bool) -> Any:
    """Return a fresh scheduler; one is never shared, for it counts its steps. A copy: DPM2's classes take a tenth of a
    second to construct."""
    said = {**settings, **LINEAR, **sampler.options, "use_karras_sigmas": karras_sigmas}
    return copy.deepcopy(_constructed(sampler.scheduler, json.dumps(said, sort_keys=True, default=list)))


@lru_cache(maxsize=NUM_CONSTRUCTED)
def _constructed(name: str, said: str) -> Any:
    kind: Any = getattr(diffusers, name)
    known = inspect.signature(kind.__init__).parameters
    return kind(**{key: value for key, value in json.loads(said).items() if key in known})


def _run(scheduler: Any, timesteps: Sequence[Tensor], *, has_picture: bool) -> Iterator[_Call]:
    """Run a scheduler to its end on random numbers and yield what each call was."""
    init_sigma, source = float(scheduler.init_noise_sigma), torch.Generator().manual_seed(0)
    takes_noise = "generator" in inspect.signature(scheduler.step).parameters
    drawn, again = torch.Generator().manual_seed(1), torch.Generator()
    x = init_sigma * _probe(source)
    for t, t_next in zip(timesteps, [*timesteps[1:], None], strict=True):
        c_in = float(scheduler.scale_model_input(torch.ones_like(x), t).flatten()[0])
        level, output, before = _level(scheduler, t, c_in), _probe(source), drawn.get_state()
        options = {"generator": drawn} if takes_noise else {}
        after = scheduler.step(output, t, x, return_dict=False, **options)[0].double()
        noise = None if torch.equal(before, drawn.get_state()) else _drawn(again, before, drawn.get_state())
        outside = (level_of_noise(scheduler, t_next) if t_next is not None else PICTURE) if has_picture else None
        yield _Call(float(t), c_in, level, _flat(x), _flat(output), noise, _flat(after), outside)
        if not after.isfinite().all():
            raise ValueError("its own formula gives no number there, as where two of its timesteps are the same")
        x = after


def _probe(source: torch.Generator) -> Tensor:
    return torch.randn(1, 1, 1, PROBE_SIZE, dtype=torch.float64, generator=source)


def _flat(x: Tensor) -> NDArray[np.float64]:
    return x.flatten().numpy()


def _make_exact(scheduler: Any) -> None:
    """Let a scheduler compute in float64 from its own float32 numbers."""
    for name, value in list(vars(scheduler).items()):
        if isinstance(value, Tensor) and value.dtype == torch.float32:
            setattr(scheduler, name, value.double())


def _level(scheduler: Any, t: Tensor, c_in: float) -> Level:
    """Return how much picture and noise x holds at a call. A scheduler that scales the network's input walks in sigma;
    the others preserve the variance, and say the level by their sigmas, or by the timestep."""
    if c_in != 1:
        return Level(1.0, math.sqrt(1 / c_in**2 - 1))
    if not hasattr(scheduler, "sigmas"):
        alpha_bar = float(scheduler.alphas_cumprod[int(t)])
        return Level(math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar))
    if scheduler.step_index is None:
        scheduler._init_step_index(t)
    sigma = float(scheduler.sigmas[scheduler.step_index])
    size = math.hypot(1, sigma)
    return Level(1 / size, sigma / size)


def _drawn(generator: torch.Generator, before: Tensor, after: Tensor) -> NDArray[np.float64]:
    """Draw again what a step drew: one probe, in float64 or float32."""
    for dtype in (torch.float64, torch.float32):
        generator.set_state(before)
        noise = torch.randn(PROBE_SIZE, dtype=dtype, generator=generator)
        if torch.equal(generator.get_state(), after):
            return noise.double().numpy()
    raise ValueError("its scheduler draws noise more than once a step, which no row of a table can say")


def _best_fit(calls: Sequence[_Call], prediction_type: str) -> _Fit:
    """Return the fit with the shortest history that explains every step, and of several the first that float32 can
    follow about as well as any; if none does, the one that explains most."""
    tried: list[_Fit] = []
    for length in range(1, HISTORY + 1):
        fits = [_fit(calls, kept, length, prediction_type) for kept in Kept]
        if good := [fit for fit in fits if fit.residual <= MAX_RESIDUAL]:
            least = min(fit.cancelling for fit in good)
            return next(fit for fit in good if fit.cancelling <= MUCH * least)
        tried += fits
    return min(tried, key=lambda fit: fit.residual)


def _fit(calls: Sequence[_Call], kept: Kept, length: int, prediction_type: str) -> _Fit:
    residual = cancelling = 0.0
    alpha, c, s = np.zeros(len(calls)), np.zeros((len(calls), length)), np.zeros(len(calls))
    history: list[NDArray[np.float64]] = []
    for i, call in enumerate(calls):
        a, b = factors(kept, call.level, prediction_type)
        history = [a * call.x + b * call.output, *history][:length]
        terms = np.stack([call.x, *history, *([] if call.noise is None else [call.noise])], axis=1)
        found = _solve(terms, call.after)
        size = np.linalg.norm(call.after)
        residual = max(residual, float(np.linalg.norm(terms @ found - call.after) / size))
        cancelling = max(cancelling, float((np.linalg.norm(terms, axis=0) * np.abs(found)).max() / size))
        alpha[i], c[i, : len(history)] = found[0], found[1 : 1 + len(history)]
        s[i] = 0 if call.noise is None else found[-1]
    return _Fit(kept, residual, cancelling, alpha, c, s)


def _solve(terms: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the factors of terms [D, columns] whose sum is nearest to what is wanted [D]."""
    sizes = np.linalg.norm(terms, axis=0)
    return np.linalg.lstsq(terms / sizes, wanted, rcond=_RANK_LIMIT)[0] / sizes
