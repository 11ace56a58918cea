"""`sigmafarm sheet`: the pictures of a batch on one page, by what was chosen for each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sigmafarm.cli.output import Json, farm_of, out, print_json, say
from sigmafarm.sheets.sheet import MAX_PAGES, SIDE_PX
from sigmafarm_common.errors import FieldError, InvalidRequest, UnreadableInput

#: What a sheet's file may end in.
ENDINGS = (".png", ".jpg", ".jpeg", ".webp")


def sheet(
    context: typer.Context,
    batch_id: Annotated[str, typer.Argument(metavar="BATCH")],
    file: Annotated[Path, typer.Option("--out", help="A .png, .jpg or .webp; further pages are FILE-2.png ...")] = Path(
        "sheet.png"
    ),
    side_px: Annotated[int, typer.Option("--side", help="The longest side of a picture on it, in pixels")] = SIDE_PX,
    max_pages: Annotated[int, typer.Option("--pages", help="Pages at most")] = MAX_PAGES,
    is_json: Json = False,
) -> None:
    """Draw a batch's contact sheet: a sweep as a table with its axes, any other batch with its prompts."""
    if file.suffix.lower() not in ENDINGS:
        raise InvalidRequest([FieldError("out", f"out is {str(file)!r}: must end in {', '.join(ENDINGS)}")])
    made = farm_of(context).batch(batch_id).sheet(side_px=side_px)
    try:
        names = made.save(file, max_pages=max_pages)
    except OSError as error:
        raise UnreadableInput(f"{file} cannot be written: {error.strerror or error}; check the path") from None
    if made.num_pages > max_pages:
        say(f"{made.num_pages - max_pages} more pages; --pages takes more")
    if is_json:
        print_json({"files": [str(name) for name in names], "num_pages": made.num_pages})
        return
    for name in names:
        out().print(str(name), soft_wrap=True)
