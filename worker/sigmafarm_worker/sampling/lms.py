"""LMS, exactly: noise levels, timesteps and linear-multistep coefficients of one job, and its table.

A picture is a trajectory x(sigma) from sigma_0 (noise) to 0 (picture) with dx/dsigma = d, the derivative that the UNet
predicts. The linear multistep method (LMS; Adams-Bashforth on uneven steps) extrapolates d by the polynomial through
its last m values and integrates that from sigma_i to sigma_{i+1}: x += sum_k c_ik d_{i-k}. The coefficients depend on
the sigmas alone, so a whole schedule's are computed once, exactly: the integrand is a polynomial of degree m - 1 <= 3,
for which two-point Gauss-Legendre quadrature has no error.

Letters: N steps, K the largest order, i step, k age of a derivative (0 newest), m order, sigma noise level, t timestep.
Everything is NumPy on the host, in float64, except that sigmas and betas are rounded to float32 where diffusers rounds
them: a schedule is part of a picture's identity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from sigmafarm_common.errors import InvalidSettings
from sigmafarm_common.weights.scheduler_rules import BETA_SCHEDULES, PREDICTION_TYPES, TIMESTEP_SPACINGS
from sigmafarm_worker.sampling.midway import Midway, outside
from sigmafarm_worker.sampling.table import Kept, Level, Table, columns, factors, previews, seen

#: The largest order of the method: how many derivatives a slot keeps.
MAX_ORDER = 4
#: The exponent of Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models", equation 5.
KARRAS_RHO = 7.0
#: What stands for no picture at all, so that its noise level, 4096, is finite: as in diffusers' Euler.
LEAST_ALPHA = 2.0**-24
#: Schedules kept by (steps, settings); one of 50 steps takes 4 KB.
NUM_CACHED = 512


@dataclass(frozen=True)
class SchedulerSettings:
    """The keys of scheduler_config.json that LMS knows, with LMSDiscreteScheduler's defaults."""

    num_train_timesteps: int = 1000
    beta_start: float = 0.0001
    beta_end: float = 0.02
    beta_schedule: str = "linear"
    trained_betas: tuple[float, ...] | None = None
    use_karras_sigmas: bool = False
    prediction_type: str = "epsilon"
    timestep_spacing: str = "linspace"
    steps_offset: int = 0
    #: Whether training ended in pure noise (Lin et al. 2023); diffusers' own LMS does not know it, its Euler does.
    rescale_betas_zero_snr: bool = False

    @classmethod
    def parse(cls, settings: Mapping[str, Any]) -> Self:
        """Take the known keys of a scheduler_config.json; those of other schedulers are left aside, as diffusers does.

        Raises InvalidSettings for a value that LMS cannot follow.
        """
        known = {f.name for f in fields(cls)}
        values = {k: v for k, v in settings.items() if k in known}
        if values.get("trained_betas") is not None:
            values["trained_betas"] = tuple(float(b) for b in values["trained_betas"])
        parsed = cls(**values)
        _check_choice("beta_schedule", parsed.beta_schedule, BETA_SCHEDULES)
        _check_choice("prediction_type", parsed.prediction_type, PREDICTION_TYPES)
        _check_choice("timestep_spacing", parsed.timestep_spacing, TIMESTEP_SPACINGS)
        for key in ("use_exponential_sigmas", "use_beta_sigmas"):
            if settings.get(key):
                raise InvalidSettings(
                    f"{key} is true: this farm spaces sigmas linearly in t or after Karras; set it false"
                )
        return parsed


def _check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InvalidSettings(f"{name} is {value!r}: the LMS loop knows {', '.join(choices)}")


@dataclass(frozen=True, eq=False)
class Schedule:
    """The tables of one job's trajectory. Arrays are shared between jobs and read-only.

    `Schedule.make(50, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")`
    """

    #: float32 [N], what the UNet is told at each step; fractional.
    timesteps: NDArray[np.float32]
    #: float64 [N+1], falling to 0; the values are those of diffusers' float32.
    sigmas: NDArray[np.float64]
    #: float64 [N, 4], newest derivative first; 0 where the order of the step is lower.
    coefficients: NDArray[np.float64]
    #: The standard deviation of the latents at the first step.
    init_noise_sigma: float
    #: Largest order of a step, 1 to 4.
    order: int
    prediction_type: str

    @classmethod
    def make(
        cls, num_inference_steps: int, *, lms_order: int = MAX_ORDER, karras_sigmas: bool | None = None, **settings: Any
    ) -> Schedule:
        """Compute (or find) the schedule of `num_inference_steps` steps.

        `settings` are named as in scheduler_config.json; keys that LMS does not know, `_class_name` among them, are
        left aside. `karras_sigmas` None takes the settings' use_karras_sigmas. Raises InvalidSettings.
        """
        if not 1 <= lms_order <= MAX_ORDER:
            raise InvalidSettings(f"lms_order is {lms_order}: must be 1 to {MAX_ORDER}")
        parsed = SchedulerSettings.parse(settings)
        if not 1 <= num_inference_steps <= parsed.num_train_timesteps:
            limit = parsed.num_train_timesteps
            raise InvalidSettings(f"num_inference_steps is {num_inference_steps}: must be 1 to {limit} for this model")
        if karras_sigmas is not None:
            parsed = replace(parsed, use_karras_sigmas=karras_sigmas)
        return _schedule(num_inference_steps, lms_order, parsed)

    @property
    def num_steps(self) -> int:
        return len(self.timesteps)

    def starting_at(self, step: int, *, as_diffusers: bool = False) -> Schedule:
        """Return the rest of the schedule from `step` on, for a trajectory that starts midway (image to image).

        The order counts from the history that exists: 1 at the first step taken. `as_diffusers` keeps the whole
        schedule's orders instead and drops the terms that have no derivative yet, a fault that diffusers 0.42 has and
        that some will want to reproduce: the increments of its first three steps do not sum to the change of sigma.
        """
        if not 0 <= step < self.num_steps:
            raise InvalidSettings(f"start step is {step}: must be 0 to {self.num_steps - 1}")
        sigmas = self.sigmas[step:]
        if as_diffusers:
            has_history = np.arange(MAX_ORDER) <= np.arange(self.num_steps - step)[:, None]
            coefficients = self.coefficients[step:] * has_history
        else:
            coefficients = lms_coefficients(sigmas, self.order)
        return Schedule(
            _frozen(self.timesteps[step:]),
            _frozen(sigmas),
            _frozen(coefficients),
            float(sigmas[0]) if step else self.init_noise_sigma,
            self.order,
            self.prediction_type,
        )

    def table(self) -> Table:
        """Return the same as rows of the engine's table: h is the derivative, alpha is 1."""
        sigma_N = self.sigmas[:-1]
        levels = [Level(1.0, float(sigma)) for sigma in sigma_N]
        a, b = zip(*(factors(Kept.EPS, level, self.prediction_type) for level in levels), strict=True)
        c_in = 1 / np.sqrt(sigma_N**2 + 1)
        return Table(
            rows=columns(
                t=self.timesteps,
                c_in=c_in,
                a=a,
                b=b,
                alpha=1,
                c=self.coefficients,
                s=0,
                seen=seen(levels, self.prediction_type),
                outside=outside(levels),
            ),
            sigmas=sigma_N,
            previews=previews(Kept.EPS, levels, self.prediction_type),
            draws=np.zeros(self.num_steps, np.bool_),
            init_noise_sigma=self.init_noise_sigma,
            start=levels[0],
        )


def make_table(
    num_steps: int, settings: Mapping[str, Any], midway: Midway, *, karras_sigmas: bool, lms_order: int
) -> Table:
    """Return the table of LMS for a scheduler_config.json. Raises InvalidSettings."""
    own = ("num_inference_steps", "lms_order", "karras_sigmas")
    said = {key: value for key, value in settings.items() if key not in own}
    schedule = Schedule.make(num_steps, lms_order=lms_order, karras_sigmas=karras_sigmas, **said)
    return schedule.starting_at(midway.start_step or 0, as_diffusers=midway.as_diffusers).table()


@lru_cache(maxsize=NUM_CACHED)
def _schedule(num_steps: int, order: int, settings: SchedulerSettings) -> Schedule:
    all_sigmas = _train_sigmas(settings)
    timesteps = _timesteps(num_steps, settings)
    sigmas = np.interp(timesteps, np.arange(len(all_sigmas)), all_sigmas)
    if settings.use_karras_sigmas:
        sigmas = karras_sigmas(sigmas[0], sigmas[-1], num_steps)
        timesteps = np.interp(np.log(sigmas), np.log(all_sigmas), np.arange(len(all_sigmas)))
    sigmas = np.append(sigmas, 0.0).astype(np.float32).astype(np.float64)
    first = sigmas.max()
    return Schedule(
        _frozen(timesteps.astype(np.float32)),
        _frozen(sigmas),
        _frozen(lms_coefficients(sigmas, order)),
        float(first if settings.timestep_spacing != "leading" else np.sqrt(first**2 + 1)),
        order,
        settings.prediction_type,
    )


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    array = np.ascontiguousarray(array)
    array.setflags(write=False)
    return array


def lms_coefficients(sigmas: NDArray[np.float64], order: int = MAX_ORDER) -> NDArray[np.float64]:
    """Return c [N, 4]: c_ik is the integral from sigma_i to sigma_{i+1} of the k-th Lagrange polynomial on the newest
    min(i + 1, order) sigmas. The order stays full to the last step, as in diffusers."""
    num_steps = len(sigmas) - 1
    coefficients = np.zeros((num_steps, MAX_ORDER))
    for m in range(1, min(order, num_steps) + 1):
        i = np.arange(m - 1, num_steps if m == order else m)
        if len(i):
            coefficients[i, :m] = _integrals(sigmas, i, m)
    return coefficients


def _integrals(sigmas: NDArray[np.float64], i: NDArray[np.int64], m: int) -> NDArray[np.float64]:
    """Return the exact integrals [len(i), m] by Gauss-Legendre on two points tau."""
    nodes = sigmas[i[:, None] - np.arange(m)]
    half = (sigmas[i + 1] - sigmas[i]) / 2
    middle = (sigmas[i + 1] + sigmas[i]) / 2
    total = np.zeros((len(i), m))
    for side in (-1, 1):
        tau = (middle + side * half / np.sqrt(3))[:, None]
        for k in range(m):
            others = np.delete(nodes, k, axis=1)
            total[:, k] += np.prod((tau - others) / (nodes[:, k : k + 1] - others), axis=1)
    return total * half[:, None]


def karras_sigmas(sigma_max: float, sigma_min: float, num_steps: int) -> NDArray[np.float64]:
    """Return `num_steps` noise levels from sigma_max to sigma_min, evenly spaced in sigma^(1/rho)."""
    ramp = np.linspace(0, 1, num_steps)
    low, high = sigma_min ** (1 / KARRAS_RHO), sigma_max ** (1 / KARRAS_RHO)
    return (high + ramp * (low - high)) ** KARRAS_RHO


def _timesteps(num_steps: int, settings: SchedulerSettings) -> NDArray[np.float32]:
    num_train = settings.num_train_timesteps
    if settings.timestep_spacing == "linspace":
        return np.linspace(0, num_train - 1, num_steps, dtype=np.float32)[::-1]
    if settings.timestep_spacing == "leading":
        ratio = num_train // num_steps
        return (np.arange(num_steps) * ratio)[::-1].astype(np.float32) + settings.steps_offset
    # Rounding can make arange one longer than asked; the extra timestep would be -1.
    return np.arange(num_train, 0, -num_train / num_steps).round()[:num_steps].astype(np.float32) - 1


@lru_cache(maxsize=16)
def _train_sigmas(settings: SchedulerSettings) -> NDArray[np.float32]:
    """Return the noise level of every training timestep, float32 [num_train_timesteps], rising."""
    alphas_cumprod = torch.cumprod(1.0 - _betas(settings), dim=0)
    if settings.rescale_betas_zero_snr:
        alphas_cumprod = _rescaled(alphas_cumprod)
    return np.array(((1 - alphas_cumprod) / alphas_cumprod) ** 0.5)


def _rescaled(alphas_cumprod: torch.Tensor) -> torch.Tensor:
    """Shift and stretch the square roots so that the last step keeps nothing of the picture and the first all it kept
    (Lin et al. 2023, "Common Diffusion Noise Schedules and Sample Steps are Flawed", algorithm 1)."""
    root = alphas_cumprod.sqrt()
    root = (root - root[-1]) * (root[0] / (root[0] - root[-1]))
    squares = root**2
    # Through the betas and back, as diffusers rounds.
    alphas = torch.cat([squares[:1], squares[1:] / squares[:-1]])
    rescaled = torch.cumprod(1.0 - (1.0 - alphas), dim=0)
    rescaled[-1] = LEAST_ALPHA
    return rescaled


def _betas(settings: SchedulerSettings) -> torch.Tensor:
    """Return the variance added at each training step, in float32 as diffusers (NumPy's linspace rounds otherwise)."""
    start, end, num = settings.beta_start, settings.beta_end, settings.num_train_timesteps
    if settings.trained_betas is not None:
        return torch.tensor(settings.trained_betas, dtype=torch.float32)
    if settings.beta_schedule == "linear":
        return torch.linspace(start, end, num, dtype=torch.float32)
    if settings.beta_schedule == "scaled_linear":
        return torch.linspace(start**0.5, end**0.5, num, dtype=torch.float32) ** 2
    # Nichol and Dhariwal's cosine: alpha_bar(s) = cos^2((s + 0.008) / 1.008 * pi / 2), beta at most 0.999.
    alpha_bar = np.cos((np.linspace(0, 1, num + 1) + 0.008) / 1.008 * np.pi / 2) ** 2
    return torch.tensor(np.minimum(1 - alpha_bar[1:] / alpha_bar[:-1], 0.999), dtype=torch.float32)
