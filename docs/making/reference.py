"""The pages of the reference, each made from the code that it tells of."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from docs.making.command_pages import commands_page
from docs.making.http_pages import api_page
from docs.making.python_pages import python_page
from docs.making.tables import table
from sigmafarm_common.config import settings_table
from sigmafarm_common.errors import SigmafarmError
from sigmafarm_common.samplers import SAMPLERS
from sigmafarm_common.settings import job_settings_table


def job_settings_page() -> str:
    return (
        "# Settings of a job\n\nWhat a row of a prompt file, a flag of `sigmafarm submit` or a body of the API may "
        "say. Rows leave out what they like: then the batch's default counts, then the model's, then the one in this "
        "table.\n\n" + job_settings_table() + "\n"
    )


def farm_settings_page() -> str:
    return (
        "# Settings of the farm\n\nFlags go before the environment, that before `.env` in the working directory, that "
        "before the defaults. `sigmafarm config` prints each with its value and where it comes from.\n\n"
        + settings_table()
        + "\n"
    )


def samplers_page() -> str:
    rows = [
        (
            f"`{each.name}`",
            each.label,
            ", ".join(f"`{name}`" for name in each.aliases),
            str(each.num_calls(50)),
            "yes" if each.knows_karras else "no",
            str(each.max_steps),
        )
        for each in SAMPLERS
    ]
    heads = ("name", "AUTOMATIC1111's name", "also", "network calls for 50 steps", "Karras sigmas", "most steps")
    return (
        "# Samplers\n\nAny of these names can be said as `sampler`, and `DPM++ 2M Karras` or the name of a scheduler's "
        "class in diffusers too. The time that a picture takes follows the calls of the network.\n\n"
        + table(heads, rows)
        + "\n"
    )


def errors_page() -> str:
    """Return every error with what follows from it: by code, the root first, then as the tree has them."""
    rows = [
        (
            f"`{each.code}`",
            f"`{each.__name__}`",
            str(each.http_status),
            str(each.exit_code),
            "yes" if each.retryable else "no",
            " ".join((each.__doc__ or "").split("\n\n")[0].split()),
        )
        for each in error_classes()
    ]
    heads = ("code", "class", "HTTP status", "exit code", "worth another try", "what")
    return (
        "# Errors\n\nEvery error of the farm, by its code. All of them are `SigmafarmError`s; their messages name the "
        "value and the cure. What to do about each stands under [When something is wrong](../mend.md).\n\n"
        + table(heads, rows)
        + "\n"
    )


def error_classes() -> list[type[SigmafarmError]]:
    """Return every class of the tree, each before those below it."""

    def below(kind: type[SigmafarmError]) -> list[type[SigmafarmError]]:
        return [kind, *(each for child in kind.__subclasses__() for each in below(child))]

    return [each for each in below(SigmafarmError) if each.__module__ == SigmafarmError.__module__]


#: The pages by name: `reference/<name>.md`. docs/reference/index.md has a heading of the same name for each.
PAGES: Mapping[str, Callable[[], str]] = {
    "commands": commands_page,
    "job-settings": job_settings_page,
    "farm-settings": farm_settings_page,
    "samplers": samplers_page,
    "api": api_page,
    "python": python_page,
    "errors": errors_page,
}
