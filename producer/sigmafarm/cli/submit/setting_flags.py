"""A flag for every setting of a job, made of its field: what it is called, takes and is for stands there alone."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from sigmafarm_common.setting_fields import Kind, SettingField
from sigmafarm_common.settings import SETTING_FIELDS

#: The types of flags that the command line checks by itself; all others are texts, which Settings checks.
_TYPES: dict[Kind, type] = {Kind.WHOLE: int, Kind.NUMBER: float, Kind.SWITCH: bool}


def with_setting_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the flags in place of its `**settings`, which hold what is said: no flag, no entry."""

    @functools.wraps(command)
    def run(**said: Any) -> None:
        command(**{name: value for name, value in said.items() if name not in SETTING_FIELDS or value is not None})

    signature = inspect.signature(command, eval_str=True)
    own = [each for each in signature.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
    flags = [_flag(field) for field in SETTING_FIELDS.values()]
    run.__signature__ = signature.replace(parameters=[*own, *flags])  # pyright: ignore[reportAttributeAccessIssue]
    return run


def _flag(field: SettingField) -> inspect.Parameter:
    if field.kind is Kind.SWITCH:
        names = [f"{flag}/--no-{flag.removeprefix('--')}" for flag in field.flags]
    else:
        names = list(field.flags)
    option: Any = typer.Option(
        *names,
        help=f"{field.help.rstrip('.')} ({field.range})" if field.range else field.help,
        rich_help_panel="Settings",
        autocompletion=(lambda: list(field.choices)) if field.choices else None,
    )
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    annotation = Annotated[_TYPES.get(field.kind, str) | None, option]
    return inspect.Parameter(field.name, kind, default=None, annotation=annotation)
