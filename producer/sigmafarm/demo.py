"""`python -m sigmafarm.demo`: the whole farm on this machine, from a prompt file to checked pictures, and gone again.

Everything that the farm keeps is in a temporary folder; only the pictures, a contact sheet and the manifest stay. Exits
with 0 only if every job succeeded and every picture passed its checks.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from sigmafarm.batch import FarmBatch
from sigmafarm.console import PlainConsole
from sigmafarm.inputs import read_rows
from sigmafarm.picture_check import what_is_wrong
from sigmafarm.picture_names import file_name
from sigmafarm.up import EmbeddedFarm
from sigmafarm.waiting import wait_for_batch
from sigmafarm_common.clock import SystemClock
from sigmafarm_common.config import Config
from sigmafarm_common.errors import ModelNotLoadable, SigmafarmError
from sigmafarm_common.model_folder import BUNDLED_NAME, WORKER_PACKAGE, find_bundled_folder
from sigmafarm_common.records import Job
from sigmafarm_common.states import JobState
from sigmafarm_common.visible import visible

#: The prompts that come with the package.
PROMPTS = Path(__file__).parent / "demo_prompts.txt"
#: The seed of the first prompt; the next ones count up, so that two demos give the same pictures.
FIRST_SEED = 100
#: The longest side of a picture on the contact sheet, in pixels.
SHEET_SIDE_PX = 192
#: Steps of a model that only draws noise: enough to exercise everything.
NOISE_STEPS = 20


def main() -> int:
    """Run the demo and return its exit code."""
    arguments = _parse_arguments()
    try:
        with tempfile.TemporaryDirectory(prefix="sigmafarm-demo-") as folder:
            return run_demo(Path(folder), arguments.out.absolute(), arguments.prompts)
    except SigmafarmError as error:
        sys.stderr.write(visible(f"sigmafarm demo: {error}") + "\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("\nsigmafarm demo: stopped\n")
        return 130


def run_demo(folder: Path, out: Path, prompts: Path, *, worker_command: list[str] | None = None) -> int:
    """Draw a prompt file on a farm that lives in a folder; return 0 if every picture is there and right."""
    console = PlainConsole(stderr=True)
    model = _model_ready(folder, console)
    config = Config.load(
        data_dir=folder,
        objects_url=str(folder / "objects"),
        models_file=folder / "models.toml",
        default_model=model,
        namespace="demo",
    )
    with EmbeddedFarm(config, worker_command=worker_command) as embedded:
        with console.status("starting the farm: broker, keeper, worker, model..."):
            embedded.wait_until_ready()
        clock = SystemClock()
        started_s = clock.monotonic_s()
        batch = embedded.farm.submit(_seeded(prompts), name="demo")
        counts = wait_for_batch(embedded.farm.store, batch.id, SystemClock(), has_progress=True, on_look=embedded.check)
        elapsed_s = clock.monotonic_s() - started_s
        console.print(
            f"{counts.succeeded} of {counts.total} pictures in {elapsed_s:.1f} s, with submitting and storing"
        )
        batch.download(out)
        bad = _report(batch, out, console)
    console.print(f"pictures, contact_sheet.png and manifest.jsonl are in {out}")
    return 1 if bad else 0


def _model_ready(folder: Path, console: Console) -> str:
    """Write the models file of the demo, make a model if there is none, and return its name."""
    bundled = find_bundled_folder()
    name, path = (BUNDLED_NAME, bundled) if bundled else ("noise", folder / "noise")
    table = f'[models.{name}]\npath = "{path}"\n'
    if not bundled:
        table += f"defaults = {{ num_inference_steps = {NOISE_STEPS} }}\n"
        console.print("this build has no bundled model: a checkpoint with random weights stands in, it draws noise")
        _make_random_checkpoint(path)
    (folder / "models.toml").write_text(table, encoding="utf-8")
    return name


def _make_random_checkpoint(path: Path) -> None:
    command = [sys.executable, "-m", f"{WORKER_PACKAGE}.models.random_checkpoint", str(path)]
    made = subprocess.run(command, capture_output=True, text=True)
    if made.returncode != 0:
        said = (made.stderr.strip().splitlines() or ["no word"])[-1]
        raise ModelNotLoadable(f"no checkpoint could be made ({said}): pip install 'sigmafarm[worker]'")


def _seeded(prompts: Path) -> Iterator[dict[str, object]]:
    for number, row in enumerate(read_rows(str(prompts))):
        yield {"seed": FIRST_SEED + number, **row.data}


def _report(batch: FarmBatch, out: Path, console: Console) -> int:
    """Check every job's picture, draw the contact sheet, and return how many are not as they should be."""
    bad = 0
    for job in batch.jobs():
        wrong = _wrong_with(job, out)
        if wrong:
            bad += 1
            console.print(f"row {job.row}: {wrong}")
    batch.sheet(side_px=SHEET_SIDE_PX).save(out / "contact_sheet.png")
    if not bad:
        console.print("every picture decodes, has its size, its SHA-256 and its parameters, and is not flat")
    return bad


def _wrong_with(job: Job, out: Path) -> str:
    if job.state is not JobState.SUCCEEDED:
        return f"{job.state}: {job.error}"
    return "; ".join(what_is_wrong(out / file_name(job), job))


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sigmafarm.demo", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("demo-output"), help="where the pictures stay")
    parser.add_argument("--prompts", type=Path, default=PROMPTS, help="a prompt file instead of the bundled one")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
