"""`sigmafarm rate`: how pictures are liked."""

from __future__ import annotations

from typing import Annotated

import typer

from sigmafarm.cli.output import Json, farm_of, print_json, say
from sigmafarm.farm import Farm
from sigmafarm_common.wording import numbered


def rate(
    context: typer.Context,
    things: Annotated[list[str], typer.Argument(metavar="JOB | BATCH", help="A batch: all its pictures")],
    stars: Annotated[int, typer.Argument(metavar="STARS", help="1 to 5; 0 takes a rating back")],
    is_json: Json = False,
) -> None:
    """Rate pictures from 1 to 5; the manifest keeps it."""
    farm = farm_of(context)
    num_rated = sum(_rate(farm, thing, stars) for thing in dict.fromkeys(things))
    if is_json:
        print_json({"rating": stars, "num_rated": num_rated})
    else:
        pictures = numbered(num_rated, "picture")
        say(f"{pictures} rated {stars}" if stars else f"{pictures} without a rating")


def _rate(farm: Farm, thing: str, stars: int) -> int:
    if "-" not in thing:
        return farm.batch(thing).rate(stars)
    farm.job(thing).rate(stars)
    return 1
