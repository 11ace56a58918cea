"""Hold the range of the bundled model's latents against pictures that it was not chosen on.

    python worker/demo_model/held_out.py draw FOLDER --seed 1         # pictures, FOLDER/pictures.jsonl, contact sheets
    python worker/demo_model/held_out.py judge FOLDER/pictures.jsonl LABELS   # adds what a person said of each
    python worker/demo_model/held_out.py figures [FILE...]            # the shares that the model's own range flags

A sample has prompts and seeds of its own and mixed settings: 3 to 50 steps, guidance 0 to 20, LMS of order 1 to 4 with
Karras sigmas and without, the other samplers. Each picture stands on the sheets beside the same noise and guidance
drawn finely (60 steps of LMS of order 2, Karras sigmas) and by Euler in as many steps; no settings or figures are on
them, so that who looks knows nothing of either.

LABELS is a file of words such as `12b 13u`: the number of a picture and what it looks like. Those without a word are
good.

    b  broken: blotches, torn or molten shapes, noise; not to be taken for what was asked
    u  neither: degraded, but it can be told what it shows
    e  broken, and Euler's in as many steps is as well: too few steps for anything, not LMS or another leaving the range
    w  wrong but whole: another shape, place or colour, as the fine one may have too

The goal is of those that diverged and are broken (b): at least 95 % flagged; of the good ones at most 1 %.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from demo_model.checker import check
from demo_model.suites import Case, pairs, patterns, rows, singles

#: The committed samples, with their labels.
DATA = sorted(Path(__file__).parent.glob("held_out_*.jsonl"))
#: The settings of the fine trajectory.
FINE = {"num_inference_steps": 60, "lms_order": 2, "karras_sigmas": True}
NUM_PICTURES = 364
#: Pictures of each prompt, seed and guidance.
NUM_OF_ONE = 3
STEPS, GUIDANCE = (3, 50), (0.0, 20.0)
#: Shares of LMS among the samplers, of order 4 among its orders, and of Karras sigmas.
LMS_SHARE, ORDER_4_SHARE, KARRAS_SHARE = 0.65, 0.5, 0.25
#: Pictures drawn before their lines are written.
AT_ONCE = 30
SIDE_PX, NUM_COLUMNS, NUM_LINES = 128, 4, 7
#: What is measured of each picture, in the order of Rendered.figures, and the limit that flags none.
FIGURES, NO_LIMIT = ("rms", "peak", "drift"), 1e9
KINDS = {"g": "good", "b": "broken", "u": "neither", "e": "broken with Euler too", "w": "wrong but whole"}

Line = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    drawing = commands.add_parser("draw")
    drawing.add_argument("folder", type=Path)
    drawing.add_argument("--seed", type=int, required=True)
    drawing.add_argument("--num", type=int, default=NUM_PICTURES)
    judging = commands.add_parser("judge")
    judging.add_argument("file", type=Path)
    judging.add_argument("labels", type=Path)
    commands.add_parser("figures").add_argument("files", type=Path, nargs="*", default=DATA)
    said = parser.parse_args()
    if said.command == "draw":
        draw(said.folder, said.seed, said.num)
    elif said.command == "judge":
        judge(said.file, said.labels.read_text("utf-8"))
    else:
        for file in said.files:
            print("\n".join([file.name, *figures(read(file))]))


def cases(seed: int) -> list[Case]:
    """Return prompts with the pictures that they ask for."""
    kinds = (singles(56, seed), pairs(48, seed), patterns(24, seed), rows(16, seed))
    mixed = [case for kind in kinds for case in kind]
    random.Random(seed).shuffle(mixed)
    return mixed


def settings(seed: int, num: int) -> Iterator[Line]:
    """Yield the settings of each picture."""
    from sigmafarm_common.samplers import LMS, SAMPLERS

    chance = random.Random(f"settings {seed}")
    others = [each for each in SAMPLERS if each.name != LMS]
    for n in range(num):
        if n % NUM_OF_ONE == 0:
            guidance_scale = round(chance.uniform(*GUIDANCE), 1)
        said: Line = {"case": n // NUM_OF_ONE, "seed": 100_000 * seed + n // NUM_OF_ONE}
        said |= {"guidance_scale": guidance_scale, "num_inference_steps": chance.randint(*STEPS)}
        is_lms, is_karras = chance.random() < LMS_SHARE, chance.random() < KARRAS_SHARE
        order = 4 if chance.random() < ORDER_4_SHARE else chance.randint(1, 3)
        other = chance.choice(others)
        said |= {"sampler": LMS, "lms_order": order} if is_lms else {"sampler": other.name}
        yield {**said, "karras_sigmas": is_karras and (is_lms or other.knows_karras)}


def draw(folder: Path, seed: int, num: int) -> None:
    """Draw a sample; one that was cut off goes on."""
    from sigmafarm_worker.engine import Engine
    from sigmafarm_worker.models import bundled_model_path, load_model
    from sigmafarm_worker.models.latent_range import LatentRange

    folder.mkdir(parents=True, exist_ok=True)
    file, known, asked = folder / "pictures.jsonl", cases(seed), list(settings(seed, num))
    num_done = len(read(file)) if file.exists() else 0
    model = load_model(bundled_model_path())
    engine = Engine(replace(model, latent_range=LatentRange(max_drift=NO_LIMIT)), max_images=12)
    for at in range(num_done, num, AT_ONCE):
        part = asked[at : at + AT_ONCE]
        drawn = _drawn(engine, [each for said in part for each in _three(said, known)])
        with file.open("a", encoding="utf-8") as lines:
            for n, said in enumerate(part):
                fine, euler, judged = drawn[3 * n : 3 * n + 3]
                strip = np.concatenate([fine.pixels, euler.pixels, judged.pixels], axis=1)
                Image.fromarray(strip).save(folder / f"{at + n:04d}.png")
                verdict = _verdict(judged.pixels, known[said["case"]])
                more = {"verdict": verdict, "fine_verdict": _verdict(fine.pixels, known[said["case"]])}
                measured = dict(zip(FIGURES, (round(figure, 3) for figure in judged.figures), strict=True))
                lines.write(json.dumps({**said, **more, **measured}) + "\n")
    sheets(folder, num)


def _three(said: Line, known: Sequence[Case]) -> list[Line]:
    """Return the settings of the fine picture, of Euler's, and of the one that is judged."""
    common = {"prompt": known[said["case"]][0], "seed": said["seed"], "guidance_scale": said["guidance_scale"]}
    own = {key: value for key, value in said.items() if key != "case"}
    euler = {"num_inference_steps": said["num_inference_steps"], "lms_order": 1}
    return [{**common, **FINE}, {**common, **euler, "karras_sigmas": said["karras_sigmas"]}, {**common, **own}]


def _drawn(engine: Any, asked: Sequence[Line]) -> list[Any]:
    from sigmafarm_common.settings import RenderRequest

    keys = [json.dumps(said) for said in asked]
    futures = {key: engine.submit(RenderRequest.parse(json.loads(key))) for key in dict.fromkeys(keys)}
    while engine.step():
        pass
    return [futures[key].result(0) for key in keys]


def _verdict(pixels: np.ndarray, case: Case) -> str:
    """Return what the checker says: background, color, shape, strict, position."""
    return "".join(str(int(each)) for each in astuple(check(pixels, case[1])))


def sheets(folder: Path, num: int) -> None:
    """Write contact sheets: fine, Euler, judged, below their number."""
    cell_w, cell_h, each = 3 * SIDE_PX + 8, SIDE_PX + 18, NUM_COLUMNS * NUM_LINES
    for sheet in range(-(-num // each)):
        page = Image.new("RGB", (NUM_COLUMNS * cell_w, NUM_LINES * cell_h), "white")
        pen = ImageDraw.Draw(page)
        for place, n in enumerate(range(sheet * each, min(num, (sheet + 1) * each))):
            left, top = place % NUM_COLUMNS * cell_w, place // NUM_COLUMNS * cell_h
            with Image.open(folder / f"{n:04d}.png") as strip:
                page.paste(strip, (left, top + 16))
            pen.text((left + 2, top + 1), str(n), "black", font_size=14)
        page.save(folder / f"sheet_{sheet:02d}.png")


def judge(file: Path, labels: str) -> None:
    """Write what a person said of each picture into its line."""
    said = {int(word[:-1]): word[-1] for word in labels.split()}
    lines = read(file)
    if unknown := [f"{n}{kind}" for n, kind in said.items() if kind not in KINDS or n >= len(lines)]:
        sys.exit(f"labels {', '.join(unknown[:5])}: must be a number below {len(lines)} and one of {', '.join(KINDS)}")
    told = [json.dumps({**line, "label": said.get(n, "g")}) + "\n" for n, line in enumerate(lines)]
    file.write_text("".join(told), "utf-8")


def read(file: Path) -> list[Line]:
    """Return the lines of a file."""
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def figures(lines: Sequence[Line]) -> Iterator[str]:
    """Yield the share that the bundled model's range flags, by what a person said."""
    from sigmafarm_worker.bundled import bundled_model_path
    from sigmafarm_worker.models.latent_range import LatentRange

    own = LatentRange.parse(json.loads((bundled_model_path() / "sigmafarm.json").read_text("utf-8"))["latent_range"])
    for kind, name in KINDS.items():
        some = [each for each in lines if each["label"] == kind]
        lms = [is_flagged(each, own) for each in some if each["sampler"] == "lms"]
        others = [is_flagged(each, own) for each in some if each["sampler"] != "lms"]
        num = sum(lms) + sum(others)
        yield (
            f"{name}: {num} of {len(some)} flagged ({100 * num / max(1, len(some)):.1f} %); "
            f"LMS {sum(lms)} of {len(lms)}, others {sum(others)} of {len(others)}"
        )


def is_flagged(line: Line, own: Any) -> bool:
    """Whether a model's LatentRange flags a picture."""
    return bool(own.excess([line[name] for name in FIGURES]))


if __name__ == "__main__":
    main()
