"""What a scheduler_config.json must say: for LMS, and for diffusers' classes that the other samplers are had from.

A sampler takes its options from the checkpoint, whatever class that names. So a value that one of them cannot read is
told when the model is loaded, not by the first job that names the sampler.
"""

from __future__ import annotations

from collections.abc import Mapping

from sigmafarm_common.weights.fits import (
    TRUTH,
    TRUTH_OR_NULL,
    Rule,
    is_count,
    is_fraction,
    is_list_of,
    is_number,
    is_positive,
    is_text,
    is_whole,
    one_of,
    or_null,
)

#: Steps of training that a schedule may have.
MAX_TRAIN_STEPS = 100_000
#: Orders that a solver may have.
ORDERS = (1, 2, 3, 4)
#: What a UNet may predict: the noise, Salimans and Ho's velocity, or the picture.
PREDICTION_TYPES = ("epsilon", "v_prediction", "sample")
TIMESTEP_SPACINGS = ("linspace", "leading", "trailing")
BETA_SCHEDULES = ("linear", "scaled_linear", "squaredcos_cap_v2")
SOLVERS = ("midpoint", "heun", "logrho", "bh1", "bh2")


def _is_many(value: object) -> bool:
    return is_whole(value) and 1 < value <= MAX_TRAIN_STEPS  # pyright: ignore[reportOperatorIssue]


def _is_clip(value: object) -> bool:
    # JSON has no word for it, and diffusers writes -Infinity.
    return (is_number(value) and value <= 0) or value == float("-inf")  # pyright: ignore[reportOperatorIssue]


def _choice(*values: object) -> Rule:
    return Rule(one_of(*values), f"one of {', '.join(map(str, values))}")


_FRACTION = "a number above 0 and below 1"
_ORDER = Rule(one_of(*ORDERS), f"a whole number from {ORDERS[0]} to {ORDERS[-1]}")
_SPACED = Rule(one_of(False), "false: this farm spaces sigmas linearly in t or after Karras")
_NOT_FLOW = Rule(one_of(False, None), "false: no Stable Diffusion 1.x or 2.x is a model of flows")
_LEFT_OUT = Rule(one_of(None), "null")
_SIGMA = Rule(or_null(is_positive), "null, or a number above 0")

SCHEDULER: Mapping[str, Rule] = {
    "_class_name": Rule(is_text, "a class of diffusers, such as PNDMScheduler"),
    "num_train_timesteps": Rule(_is_many, f"a whole number above 1 and up to {MAX_TRAIN_STEPS}, mostly 1000"),
    "beta_start": Rule(is_fraction, f"{_FRACTION}, mostly 0.00085"),
    "beta_end": Rule(is_fraction, f"{_FRACTION}, mostly 0.012"),
    "beta_schedule": _choice(*BETA_SCHEDULES),
    "prediction_type": _choice(*PREDICTION_TYPES),
    "timestep_spacing": _choice(*TIMESTEP_SPACINGS),
    "trained_betas": Rule(or_null(is_list_of(is_fraction)), "null, or a list of numbers between 0 and 1"),
    "steps_offset": Rule(one_of(0, 1), "0 or 1"),
    "rescale_betas_zero_snr": TRUTH_OR_NULL,
    "use_karras_sigmas": TRUTH_OR_NULL,
    "use_exponential_sigmas": _SPACED,
    "use_beta_sigmas": _SPACED,
    "use_flow_sigmas": _NOT_FLOW,
    "use_dynamic_shifting": _NOT_FLOW,
    "shift_terminal": _LEFT_OUT,
    "set_alpha_to_one": TRUTH,
    "skip_prk_steps": TRUTH,
    "solver_order": Rule(one_of(*ORDERS[:3]), "1, 2 or 3"),
    "solver_type": _choice(*SOLVERS),
    "solver_p": _LEFT_OUT,
    "predictor_order": _ORDER,
    "corrector_order": _ORDER,
    "disable_corrector": Rule(
        lambda value: isinstance(value, list | tuple) and all(is_whole(each) for each in value),  # pyright: ignore
        "a list of steps, mostly an empty one",
    ),
    "predict_x0": TRUTH,
    "lower_order_final": TRUTH_OR_NULL,
    "euler_at_final": TRUTH_OR_NULL,
    "use_lu_lambdas": TRUTH_OR_NULL,
    "final_sigmas_type": _choice("zero", "sigma_min"),
    "lambda_min_clipped": Rule(_is_clip, "a number up to 0, mostly -5.1, or -Infinity"),
    "variance_type": Rule(or_null(is_text), "null, or a word such as fixed_small"),
    "tau_func": _LEFT_OUT,
    "original_inference_steps": Rule(is_count, "a whole number above 0, mostly 50"),
    "timestep_scaling": Rule(is_positive, "a number above 0, mostly 10"),
    "interpolation_type": _choice("linear", "log_linear"),
    "timestep_type": _choice("discrete", "continuous"),
    "sigma_min": _SIGMA,
    "sigma_max": _SIGMA,
}
#: Options of the samplers' classes that are never read here: what they belong to is switched off (LINEAR in probe.py),
#: or is refused above.
UNUSED = frozenset(
    {"clip_sample_range", "dynamic_thresholding_ratio", "flow_shift", "sample_max_value", "time_shift_type"}
)
