"""Judge a finished model: `python worker/demo_model/evaluate.py MODEL_FOLDER`.

Renders the suites through the farm's own engine (or diffusers, with --diffusers) and prints one line of figures for
each; --json keeps them in a file, --grids draws contact sheets.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from demo_model.checker import Verdict, check, find_thing
from demo_model.grids import draw_grids
from demo_model.picture import Background, Pattern, Thing
from demo_model.render import FARM_DEFAULTS, Settings, load_pipeline, own_defaults, with_engine, with_pipeline
from demo_model.suites import Case, open_colors, pairs, patterns, rows, singles

Render = Callable[[Sequence[str], Settings], list[np.ndarray]]
#: Name of a measurement -> percentage.
Figures = dict[str, float]
#: Suite of the full evaluation -> its cases at full size.
NUM_SINGLES, NUM_PAIRS, NUM_PATTERNS, NUM_ROWS, NUM_OPEN = 240, 160, 80, 40, 120


def judge(render: Render, cases: list[Case], settings: Settings) -> Figures:
    """Render the cases and give the percentage of pictures for which each part of the verdict holds."""
    pictures = render([prompt for prompt, _ in cases], settings)
    verdicts = [check(pixels, picture) for pixels, (_, picture) in zip(pictures, cases, strict=True)]
    parts = [*Verdict.__dataclass_fields__, "all_right"]
    return {part: round(100 * float(np.mean([getattr(v, part) for v in verdicts])), 1) for part in parts}


def red_objects(render: Render, count: int, settings: Settings) -> float:
    """Give the percentage of red things in pictures whose prompts leave the colour open."""
    white = Background(Pattern.PLAIN, ("white",))
    anything = Thing("red", "circle", "medium", 0.5, 0.5, 0.25)
    colors = [find_thing(pixels, anything, white)[1] for pixels in render(open_colors(count), settings)]
    return round(100 * colors.count("red") / count, 1)


def evaluate(render: Render, part: float, only: str = "") -> dict[str, Figures]:
    """Run the suites whose names contain `only` at a part (0 to 1) of their full size."""
    own, farm = own_defaults(), FARM_DEFAULTS
    size = lambda count: max(4, round(part * count))  # noqa: E731
    few, more = singles(size(NUM_SINGLES // 2)), singles(size(NUM_SINGLES))
    runs: dict[str, Callable[[], Figures]] = {
        "one object, own defaults": partial(judge, render, more, own),
        "two objects, own defaults": partial(judge, render, pairs(size(NUM_PAIRS)), own),
        "patterns, own defaults": partial(judge, render, patterns(size(NUM_PATTERNS)), own),
        "rows of equal objects, own defaults": partial(judge, render, rows(size(NUM_ROWS)), own),
        "one object, farm's defaults": partial(judge, render, few, farm),
        "two objects, farm's defaults": partial(judge, render, pairs(size(NUM_PAIRS // 2)), farm),
        "one object, 12 steps": partial(judge, render, few, own_defaults(num_inference_steps=12)),
        "one object, guidance 7.5": partial(judge, render, few, own_defaults(guidance_scale=7.5)),
        "one object, guidance 1": partial(judge, render, few, own_defaults(guidance_scale=1.0)),
        "one object, 64 px": partial(judge, render, few, own_defaults(width=64, height=64)),
        "one object, 192 x 128 px": partial(judge, render, few, own_defaults(width=192)),
        "colour left open": lambda: {"red": red_objects(render, size(NUM_OPEN), own)},
        'colour left open, negative "red"': lambda: {
            "red": red_objects(render, size(NUM_OPEN), own_defaults(negative_prompt="red"))
        },
    }
    results = {}
    for name, run in runs.items():
        if only not in name:
            continue
        started = time.monotonic()
        results[name] = run()
        print(f"{name}: {results[name]} ({time.monotonic() - started:.0f} s)", flush=True)
    return results


def main() -> None:
    """Evaluate the folder named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--diffusers", action="store_true", help="render through diffusers instead of the engine")
    parser.add_argument("--part", type=float, default=1.0, help="part of every suite, for a quick look")
    parser.add_argument("--only", default="", help="run only the suites whose names contain this")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.add_argument("--grids", type=Path, help="folder to draw contact sheets into (instead of figures)")
    options = parser.parse_args()
    if options.diffusers:
        render: Render = partial(with_pipeline, load_pipeline(options.model))
    else:
        render = partial(with_engine, options.model)
    if options.grids:
        draw_grids(render, options.grids)
        return
    results = evaluate(render, options.part, options.only)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
