"""Learn which latents of the bundled model are no picture any more: `python worker/demo_model/divergence.py FILE`.

Draws prompts of the suites with settings from mild to stiff, each beside a fine trajectory of the same noise and
guidance, has the checker judge every picture, and appends a line for each to the file (a run that is cut off goes on).
Then it prints how many broken and how many good pictures each limit would flag; `--only-figures` prints that alone.

A picture is broken if its settings are stiff (LMS of order 3 or 4 without Karras sigmas, guidance 5 or more), the
checker's strict look fails, and the fine trajectory passes it. It is good if everything about it is right.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from demo_model.checker import check
from demo_model.suites import Case, pairs, patterns, singles

#: What was measured for the committed limit.
DATA = Path(__file__).parent / "divergence.jsonl"
GUIDANCE = (1.0, 3.0, 5.0, 7.5, 10.0, 14.0)
#: Steps, LMS order and Karras spacing of the fine trajectory, and of those that are judged.
FINE = (60, 2, True)
JUDGED = [(n, order, False) for n in (10, 15, 25, 40) for order in (4, 2)]
JUDGED += [(10, 4, True), (15, 4, True), (25, 4, True), (25, 3, False), (50, 4, False)]
#: Pictures drawn before their lines are written.
AT_ONCE = 26
#: Limits of the drift that are tried, in hundredths.
LIMITS = range(20, 81, 5)
#: What is measured of each picture, in the order of Rendered.figures, and the limit that flags none.
FIGURES, NO_LIMIT = ("rms", "peak", "drift"), 1e9

Line = dict[str, Any]


def cases() -> list[Case]:
    """Return the prompts, each with the picture that it asks for."""
    return singles(16) + pairs(6) + patterns(2)


def jobs(num_cases: int) -> list[Line]:
    """Return the settings of every picture; each prompt is drawn at two of the guidances."""
    return [
        {"case": case, "guidance_scale": g, "num_inference_steps": n, "lms_order": order, "karras_sigmas": karras}
        for case in range(num_cases)
        for g in GUIDANCE[case % 3 :: 3]
        for n, order, karras in (FINE, *JUDGED)
    ]


def measure(file: Path) -> None:
    """Append what the file lacks."""
    from sigmafarm_common.settings import RenderRequest
    from sigmafarm_worker.engine import Engine
    from sigmafarm_worker.models import bundled_model_path, load_model
    from sigmafarm_worker.models.latent_range import LatentRange

    known, asked = cases(), jobs(len(cases()))
    num_done = len(file.read_text().splitlines()) if file.exists() else 0
    model = load_model(bundled_model_path())
    engine = Engine(replace(model, latent_range=LatentRange(max_drift=NO_LIMIT)), max_images=12)
    for at in range(num_done, len(asked), AT_ONCE):
        part = asked[at : at + AT_ONCE]
        futures = []
        for said in part:
            settings = {name: value for name, value in said.items() if name != "case"}
            about = {"prompt": known[said["case"]][0], "seed": 1000 + said["case"]}
            futures.append(engine.submit(RenderRequest.parse({**settings, **about})))
        while engine.step():
            pass
        with file.open("a") as lines:
            for said, future in zip(part, futures, strict=True):
                drawn = future.result(0)
                verdict = "".join(str(int(each)) for each in astuple(check(drawn.pixels, known[said["case"]][1])))
                measured = dict(zip(FIGURES, (round(figure, 3) for figure in drawn.figures), strict=True))
                lines.write(json.dumps({**said, "verdict": verdict, **measured}) + "\n")


def read(file: Path) -> list[Line]:
    """Return the lines of a file."""
    return [json.loads(line) for line in file.read_text().splitlines()]


def split(lines: Sequence[Line]) -> tuple[list[Line], list[Line]]:
    """Return the broken and the good pictures."""
    passed = {(each["case"], each["guidance_scale"]) for each in lines if _settings(each) == FINE and is_good(each)}
    broken = [each for each in lines if is_stiff(each) and not is_strict(each)]
    return [each for each in broken if (each["case"], each["guidance_scale"]) in passed], list(filter(is_good, lines))


def is_stiff(line: Line) -> bool:
    """Whether LMS is known to leave the range of pictures with these settings."""
    return line["lms_order"] >= 3 and not line["karras_sigmas"] and line["guidance_scale"] >= 5


def is_strict(line: Line) -> bool:
    """Whether the checker's strict look passed: the fourth of the verdict."""
    return line["verdict"][3] == "1"


def is_good(line: Line) -> bool:
    return "0" not in line["verdict"]


def table(lines: Sequence[Line]) -> Iterator[str]:
    """Yield how many of the broken and of the good pictures each limit flags."""
    broken, good = split(lines)
    yield f"{len(lines)} pictures: {len(broken)} broken, {len(good)} good"
    for limit in (hundredths / 100 for hundredths in LIMITS):
        shares = (100 * sum(each["drift"] > limit for each in some) / len(some) for some in (broken, good))
        yield "max_drift {:4.2f}: flags {:5.1f} % of the broken and {:4.1f} % of the good".format(limit, *shares)


def _settings(line: Line) -> tuple[int, int, bool]:
    return line["num_inference_steps"], line["lms_order"], line["karras_sigmas"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, nargs="?", default=DATA)
    parser.add_argument("--only-figures", action="store_true", help="draw nothing, judge what the file holds")
    options = parser.parse_args()
    if not options.only_figures:
        measure(options.file)
    print("\n".join(table(read(options.file))))


if __name__ == "__main__":
    main()
