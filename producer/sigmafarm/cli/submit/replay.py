"""`sigmafarm replay`: draws a picture again from what its file says, and tells the difference."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sigmafarm.cli.output import Json, farm_of, out, print_json, say
from sigmafarm.replay.replaying import Difference
from sigmafarm.replay.replaying import replay as draw_again
from sigmafarm_common.errors import UnreadableInput

#: The largest picture's file that is read.
MAX_FILE_BYTES = 256 << 20


def replay(
    context: typer.Context,
    image: Annotated[Path, typer.Argument(help="A picture of this farm, or of AUTOMATIC1111")],
    model: Annotated[str | None, typer.Option(help="Draws in place of the model that the file names")] = None,
    file: Annotated[Path | None, typer.Option("--out", help="Write the new picture here")] = None,
    timeout_s: Annotated[float | None, typer.Option("--timeout", help="Seconds to wait at most")] = None,
    is_json: Json = False,
) -> None:
    """Draw a picture again from the settings in its file, and report how the two differ. Exit 1 if none came of it."""
    farm = farm_of(context)
    made = draw_again(farm, _bytes_of(image), model=model, timeout_s=timeout_s)
    for note in made.notes:
        say(note)
    if file is not None and made.job.image_key:
        file.write_bytes(farm.objects.get(made.job.image_key))
    if is_json:
        print_json(made.to_json())
    elif made.difference is not None:
        out().print(_words(made.difference), soft_wrap=True)
    if made.difference is None:
        say(f"job {made.job.id} is {made.job.state}: {made.job.error or 'no picture yet'}")
        raise typer.Exit(1)


def _bytes_of(image: Path) -> bytes:
    try:
        if image.stat().st_size > MAX_FILE_BYTES:
            raise UnreadableInput(f"{image} has more than {MAX_FILE_BYTES} bytes: no picture is so large")
        return image.read_bytes()
    except OSError as error:
        raise UnreadableInput(f"{image} cannot be read: {error.strerror}; check the path") from None


def _words(difference: Difference) -> str:
    if difference.has_same_bytes:
        return "the same, byte for byte"
    if not difference.has_same_size:
        return "of another size: its pixels were not compared"
    if difference.has_same_pixels:
        return "the same pixels in another file"
    return f"pixels differ by {difference.max_difference} of 255 at most, {difference.mean_difference:.3f} in the mean"
