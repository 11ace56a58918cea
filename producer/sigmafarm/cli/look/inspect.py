"""`sigmafarm inspect`: looks inside a drawing by way of the worker's package, which is not imported here."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from typing import Annotated

import typer

from sigmafarm_common.errors import InvalidInput

#: The program that looks, and what it needs beside itself.
PROGRAM, NEEDED = "sigmafarm_worker.looking", ("sigmafarm_worker", "torch", "diffusers", "transformers")


def inspect(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            help="tokens, schedule, latents, noised, filmstrip or roundtrip, and its flags; --help lists them"
        ),
    ] = None,
) -> None:
    """Look inside a drawing: tokens, schedule, latents, a noised picture, filmstrip, round trip; as PNG and JSON."""
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise InvalidInput(
            f"inspect draws on this machine, which lacks {', '.join(missing)}: pip install 'sigmafarm[worker]' here, "
            "or run it where a worker is installed"
        )
    raise typer.Exit(
        subprocess.run([sys.executable, "-m", PROGRAM, *(arguments or ["--help"])], check=False).returncode
    )
