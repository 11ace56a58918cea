"""`sigmafarm examples`: the settings of published programs, listed or drawn by this farm."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sigmafarm.cli.output import Json, Rows, exit_code_of, farm_of, out, print_json, say, show
from sigmafarm.examples import EXAMPLES
from sigmafarm_common.errors import InvalidInput, NotFound
from sigmafarm_common.setting_fields import text_of


def examples(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="Draw this one; none: list them")] = None,
    model: Annotated[str | None, typer.Option(help="The model that draws; the farm's default unless said")] = None,
    full_size: Annotated[
        bool, typer.Option("--full-size", help="512 x 512, as the program, not the model's own")
    ] = False,
    steps: Annotated[int | None, typer.Option(help="Instead of the program's")] = None,
    image: Annotated[
        Path | None, typer.Option(help="What image to image begins with; a picture of its own unless said")
    ] = None,
    folder: Annotated[Path | None, typer.Option("--out", help="Wait, then download into this folder")] = None,
    is_json: Json = False,
) -> None:
    """List the settings of published programs, or draw one of them."""
    if name is None:
        _list_all(is_json=is_json)
        return
    if name not in EXAMPLES:
        raise NotFound(f"there is no example {name!r}: there are {', '.join(EXAMPLES)}")
    example = EXAMPLES[name]
    if image is not None and not example.has_picture:
        raise InvalidInput(f"--image: {name} draws from its prompt alone; leave it out")
    batch = farm_of(context).submit(
        example.prompts,
        name=name,
        defaults=example.defaults(model=model, is_full_size=full_size, steps=steps),
        init_image=image or example.picture(),
        repeat=example.repeat,
        one_generator=example.one_generator,
    )
    if folder is not None:
        batch.wait(progress=True)
        batch.download(folder)
    print_json({"batch": batch.id}) if is_json else out().print(batch.id)
    if folder is not None:
        say(f"pictures are in {folder}")
        raise typer.Exit(exit_code_of(batch.counts))


def _list_all(*, is_json: bool) -> None:
    if is_json:
        told = [
            {"name": e.name, "what": e.what, "prompts": e.prompts, "settings": e.settings, "repeat": e.repeat}
            for e in EXAMPLES.values()
        ]
        print_json({"examples": told})
        return
    rows = [
        (e.name, e.what, ", ".join(f"{name} {text_of(value)}" for name, value in e.settings.items()))
        for e in EXAMPLES.values()
    ]
    show(Rows(("Name", "What", "Settings"), rows))
