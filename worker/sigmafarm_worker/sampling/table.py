"""The table of a job: all that its sampler is, one row for each call of the network.

    h = a x + b o                                    o: what the network says of c_in x at timestep t, guided
    x <- alpha x + sum_k c_k h_k + s noise           k: age of an h, 0 for this row's
    outside a mask, if there is one: x <- p picture + q first noise
    x0 = d x + e o, which counts w                   o: of the prompt alone; see drift.py

Every sampler here is such a table, so that rows of different samplers share a pass, and only the numbers differ. The
picture x0 that the network sees in x, and the noise eps, are linear in x and o whatever the network predicts, so that a
and b carry the prediction type.

Letters: N calls, K ages, F columns; at each call x = scale x0 + noise eps, where (scale, noise) is (1, sigma) for
samplers that walk in sigma, and (sqrt(alpha_bar), sqrt(1 - alpha_bar)) for those that preserve the variance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sigmafarm_common.errors import InvalidSettings

#: How many h a slot keeps: PLMS reaches back over five.
HISTORY = 5
#: Columns: t, c_in, a, b, alpha first, then the coefficients c, the newest h's first, then s, p and q, d, e and w.
NUM_FIRST = 5
COEFFICIENTS = slice(NUM_FIRST, NUM_FIRST + HISTORY)
NOISE = NUM_FIRST + HISTORY
OUTSIDE = slice(NOISE + 1, NOISE + 3)
SEEN = slice(NOISE + 3, NOISE + 6)
NUM_COLUMNS = NOISE + 6
#: The noise levels (sigma) between which the picture that the network sees should stand still: chosen on the bundled
#: model (worker/demo_model/README.md).
LATE = (0.1, 1.5)

Factors = tuple[float, float]


class Kept(Enum):
    """What h is: which view of the network's answer a sampler extrapolates. The first that will do is taken."""

    #: The picture that it sees.
    X0 = auto()
    #: The noise that it sees.
    EPS = auto()
    #: The answer itself, whatever it predicts.
    OUTPUT = auto()


class Level(NamedTuple):
    """How much picture and how much noise is in x at a call: x = scale x0 + noise eps."""

    scale: float
    noise: float

    @property
    def sigma(self) -> float:
        """Noise over picture, in which noise levels of all samplers are compared."""
        return self.noise / self.scale if self.scale else np.inf


#: No picture at all.
NOISE_ALONE = Level(0.0, 1.0)


@dataclass(frozen=True, eq=False)
class Table:
    """What the engine needs of a sampler. Arrays are shared between jobs and read-only."""

    #: float32 [N, F].
    rows: NDArray[np.float32]
    #: float64 [N]: noise over picture in x at each call.
    sigmas: NDArray[np.float64]
    #: float64 [N, 2]: p, q of the picture that is seen after each call, p x + q h.
    previews: NDArray[np.float64]
    #: bool [N]: whether noise is drawn after the call, be it used or not: diffusers draws some that it does not use.
    draws: NDArray[np.bool_]
    #: The standard deviation of x at the first call, where it is noise alone.
    init_noise_sigma: float
    #: What x is made of there, where a picture is given.
    start: Level = NOISE_ALONE

    def __post_init__(self) -> None:
        assert self.rows.shape == (len(self.sigmas), NUM_COLUMNS)
        for array in (self.rows, self.sigmas, self.previews, self.draws):
            array.setflags(write=False)

    @property
    def num_calls(self) -> int:
        return len(self.rows)

    @property
    def is_noisy(self) -> bool:
        return bool(self.draws.any())


def factors(kept: Kept, level: Level, prediction_type: str) -> Factors:
    """Return a, b of h = a x + b o. Raises InvalidSettings where the answer says nothing of what is kept."""
    if kept is Kept.OUTPUT:
        return 0.0, 1.0
    scale, noise = level
    size = float(np.hypot(scale, noise))
    if prediction_type == "v_prediction":
        # v = scale/size eps - noise/size x0 of the normalised x/size (Salimans and Ho 2022).
        x0 = scale / size**2, -noise / size
    elif prediction_type == "sample":
        x0 = 0.0, 1.0
    elif scale:
        x0 = 1 / scale, -noise / scale
    else:
        raise InvalidSettings("the first noise level holds no picture, which a model that predicts noise cannot follow")
    return x0 if kept is Kept.X0 else ((1 - scale * x0[0]) / noise, -scale * x0[1] / noise)


def previews(kept: Kept, levels: Sequence[Level], prediction_type: str) -> NDArray[np.float64]:
    """Return p, q [N, 2] of the picture p x + q h that is seen after each call, at the level of the next one. After the
    last, x is the picture."""
    if kept is Kept.X0:
        return np.tile([0.0, 1.0], (len(levels), 1))
    found = [_seen(kept, level, prediction_type) for level in levels[1:]]
    return np.array([*found, (1.0, 0.0)])


def _seen(kept: Kept, level: Level, prediction_type: str) -> Factors:
    if kept is Kept.OUTPUT:
        return factors(Kept.X0, level, prediction_type)
    return 1 / level.scale, -level.noise / level.scale


def seen(levels: Sequence[Level], prediction_type: str) -> NDArray[np.float64]:
    """Return d, e, w [N, 3]: the picture d x + e o that the network sees at each call, and its share of the way down
    through LATE in log sigma, so that it hardly matters how many calls share the way."""
    log_N1 = np.log(np.clip([*(level.sigma for level in levels), 0.0], *LATE))
    w_N = np.maximum(-np.diff(log_N1), 0) / np.log(LATE[1] / LATE[0])
    d_e = [factors(Kept.X0, level, prediction_type) if w else (0.0, 0.0) for level, w in zip(levels, w_N, strict=True)]
    return np.column_stack([d_e, w_N])


def columns(
    *,
    t: Any,
    c_in: Any,
    a: Any,
    b: Any,
    alpha: Any,
    c: NDArray[np.float64],
    s: Any,
    seen: NDArray[np.float64],
    outside: Sequence[Level] = (),
) -> NDArray[np.float32]:
    """Return rows [N, F] of a table from its columns: [N] or one number each, c [N, up to K]; d, e and w of `seen`; p
    and q of `outside`."""
    rows = np.zeros((len(c), NUM_COLUMNS), np.float32)
    for column, values in enumerate((t, c_in, a, b, alpha)):
        rows[:, column] = values
    rows[:, NUM_FIRST : NUM_FIRST + c.shape[1]] = c
    rows[:, NOISE] = s
    rows[:, SEEN] = seen
    if outside:
        rows[:, OUTSIDE] = outside
    return rows
