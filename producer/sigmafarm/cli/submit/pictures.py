"""`sigmafarm upload`: pictures to draw from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sigmafarm.cli.output import Json, farm_of, out, print_json


def upload(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="PNG, JPEG or WEBP")],
    is_json: Json = False,
) -> None:
    """Store pictures to draw from, and print what --init-image and --mask-image call them."""
    farm, stored = farm_of(context), list[dict[str, str]]()
    for file in files:
        stored.append({"file": str(file), "id": farm.upload(file)})
        if not is_json:
            out().print(stored[-1]["id"])
    if is_json:
        print_json({"images": stored})
