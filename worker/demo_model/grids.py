"""Contact sheets to look at: figures cannot say whether a scene can be named at a glance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from demo_model.render import Settings, own_defaults
from demo_model.suites import SCENES, pairs, patterns, singles

#: Prompts whose pictures show what guidance does.
GUIDED = ["a red star on a blue background", "a house under the sun", "a green circle left of a yellow square"]
GUIDANCE_SCALES = (1.0, 2.0, 5.0, 7.5, 12.0)
#: Sizes that must render without breaking, width x height.
SIZES = ((64, 64), (96, 96), (128, 128), (192, 192), (192, 128), (128, 192))
NUM_COLUMNS = 6


def draw_grids(render: Callable[[Sequence[str], Settings], list[np.ndarray]], folder: Path) -> None:
    """Write scenes.png, objects.png, guidance.png and sizes.png."""
    folder.mkdir(parents=True, exist_ok=True)
    own = own_defaults()
    _save(render(SCENES, own), folder / "scenes.png")
    cases = [*singles(12), *pairs(12), *patterns(6)]
    _save(render([prompt for prompt, _ in cases], own), folder / "objects.png")
    guided = [render(GUIDED, own_defaults(guidance_scale=scale)) for scale in GUIDANCE_SCALES]
    _save([row[k] for k in range(len(GUIDED)) for row in guided], folder / "guidance.png", len(GUIDANCE_SCALES))
    sized = [render(GUIDED, own_defaults(width=width, height=height)) for width, height in SIZES]
    _save([_padded(row[k], 192) for k in range(len(GUIDED)) for row in sized], folder / "sizes.png")


def _padded(pixels: np.ndarray, side: int) -> np.ndarray:
    height, width = pixels.shape[:2]
    return np.pad(pixels, ((0, side - height), (0, side - width), (0, 0)), constant_values=128)


def _save(pictures: list[np.ndarray], path: Path, num_columns: int = NUM_COLUMNS) -> None:
    """Put pictures of one size side by side with a gap of four pixels."""
    tiles = [np.pad(p, ((2, 2), (2, 2), (0, 0)), constant_values=255) for p in pictures]
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % num_columns)
    lines = [np.concatenate(tiles[k : k + num_columns], axis=1) for k in range(0, len(tiles), num_columns)]
    Image.fromarray(np.concatenate(lines)).save(path)
