"""What is submitted, as people say it: a text, settings by name, a file, or any number of rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from sigmafarm.inputs import read_rows
from sigmafarm.items import Item
from sigmafarm.kept_columns import KeptColumns
from sigmafarm_common.errors import FieldError, InvalidRequest
from sigmafarm_common.settings import RenderRequest
from sigmafarm_common.validation import shown

#: What is submitted: a prompt, its settings by name, a request, a path of a file of them, or any number of rows.
Prompts = str | RenderRequest | Mapping[str, Any] | PathLike[str] | Iterable[Item]


def rows_of(prompts: Prompts, kept: KeptColumns) -> Iterable[Item]:
    """Return an iterable of rows; a single prompt is one row, not its letters, and a path is the rows of its file."""
    one: Any = prompts
    if isinstance(one, str | RenderRequest | Mapping):
        return [one]
    if isinstance(one, PathLike):
        return read_rows(fspath(one), kept=kept)
    kind = type(one).__name__
    if hasattr(one, "readlines"):
        raise _no_rows(f"an open file ({kind})", "give its path, as in submit(Path(...)), so that its format is known")
    if hasattr(one, "columns") and not isinstance(one, str):
        raise _no_rows(f"a table ({kind})", "give its rows: df.to_dict('records') of pandas, df.to_dicts() of Polars")
    if isinstance(one, bytes) or not isinstance(one, Iterable) or getattr(one, "shape", None) == ():
        raise _no_rows(shown(one), "must be a text, settings by name, a path of a file, or a list of rows")
    return one


def name_of(prompts: Prompts) -> str:
    """Return the name of a file that is submitted, empty for what is none."""
    return Path(prompts).name if isinstance(prompts, PathLike) else ""


def _no_rows(what: str, cure: str) -> InvalidRequest:
    return InvalidRequest([FieldError("prompts", f"prompts is {what}: {cure}")])
