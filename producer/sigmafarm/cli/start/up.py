"""The commands that run for long: `up`, the whole farm on this machine, and `worker`, its drawing part alone."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.live import Live

from sigmafarm.cli.look.status import farm_view
from sigmafarm.cli.output import config_of, say
from sigmafarm.console import PlainConsole
from sigmafarm.up import EmbeddedFarm, supervisor_command
from sigmafarm_common.config import Config, Source
from sigmafarm_common.errors import FarmUnavailable, InvalidSettings
from sigmafarm_common.signals import call_on

#: Pause between two looks at the farm.
LOOK_S = 0.5
#: Batches that the display shows.
SHOWN_BATCHES = 8

DataDir = Annotated[Path | None, typer.Option(help="The folder of the farm")]
ModelsFile = Annotated[Path | None, typer.Option(help="The TOML file that names the models")]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:N or mps")]
Port = Annotated[int | None, typer.Option(help="Of the API and the dashboard; unless said, 8420 or the next free one")]
MaxImages = Annotated[int | None, typer.Option(help="Pictures that one worker draws at once")]


def up(
    context: typer.Context,
    data_dir: DataDir = None,
    models_file: ModelsFile = None,
    device: Device = None,
    max_images: MaxImages = None,
    port: Port = None,
) -> None:
    """Run the whole farm on this machine until Ctrl-C; the next `up` goes on where this one stopped."""
    config = config_of(
        context, data_dir=data_dir, models_file=models_file, device=device, max_images=max_images, http_port=port
    )
    if any(s.name == "redis_url" and s.source not in (Source.DEFAULT, Source.EMBEDDED) for s in config.sources()):
        raise InvalidSettings(
            "SIGMAFARM_REDIS_URL names a farm elsewhere, and `sigmafarm up` starts one here: unset it, or run "
            "`sigmafarm worker` to draw for the farm that it names"
        )
    run_up(config)


def worker(
    context: typer.Context, models_file: ModelsFile = None, device: Device = None, max_images: MaxImages = None
) -> None:
    """Draw for the farm that the settings name: one process per GPU, or one on the CPU."""
    config = config_of(context, models_file=models_file, device=device, max_images=max_images)
    command = supervisor_command()
    os.execve(command[0], command, {**os.environ, **config.environ()})  # this process becomes the supervisor


def run_up(config: Config, *, worker_command: Sequence[str] | None = None) -> None:
    """Start the farm, show it until SIGINT or SIGTERM comes, and stop it. Raises what ends it by itself."""
    stop = threading.Event()
    farm = EmbeddedFarm(config, worker_command=worker_command, has_api=True)

    def ask_to_stop() -> None:
        if stop.is_set():
            say("handing running jobs back at once...")
            farm.hurry()
        stop.set()

    call_on((signal.SIGINT, signal.SIGTERM), ask_to_stop)
    try:
        farm.start()
        say(f"sigmafarm: the farm is up; its data are in {farm.config.data_dir}, its log is {farm.log_path}")
        say(f"sigmafarm: the dashboard and the API are at {farm.url}")
        say("sigmafarm: the worker starts and loads its model; prompts may come already, from another terminal:")
        say('  sigmafarm submit --prompt "a house under the sun" --out pictures')
        _show(farm, stop)
        say(f"sigmafarm: stopping; running pictures get {config.drain_s:g} s to be finished, Ctrl-C hands them back")
    finally:
        farm.stop()
    say("sigmafarm: stopped; the next `sigmafarm up` goes on from here")


def _show(farm: EmbeddedFarm, stop: threading.Event) -> None:
    """Draw the farm on a terminal, say only its start elsewhere, until it is to stop; raise when it cannot go on."""
    console = PlainConsole(stderr=True)
    is_ready = False
    with Live(console=console, auto_refresh=False, transient=True) if sys.stderr.isatty() else _Quiet() as live:
        while not stop.is_set():
            farm.check()
            for words in farm.new_words():
                say(words)
            try:
                is_ready = _say_once_ready(farm, is_ready=is_ready)
                live.update(farm_view(farm.farm.store, SHOWN_BATCHES), refresh=True)
            except FarmUnavailable as error:
                say(f"sigmafarm: {error}")
            stop.wait(LOOK_S)


def _say_once_ready(farm: EmbeddedFarm, *, is_ready: bool) -> bool:
    if not is_ready and (workers := farm.farm.workers()):
        say(f"sigmafarm: ready; {workers[0].id} draws {', '.join(workers[0].models)} on {workers[0].device}")
        for name, problem in workers[0].broken.items():
            say(f"sigmafarm: {name} cannot be loaded: {problem}")
        return True
    return is_ready


class _Quiet:
    """Stands where the display would, when nobody looks."""

    def __enter__(self) -> _Quiet:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def update(self, _view: object, *, refresh: bool) -> None:
        del refresh
