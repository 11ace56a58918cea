"""Errors name what was typed: `--num-inference-steps` where a flag said it, and not num_inference_steps.

Everything below the command line knows settings by their names: files, bodies and Python say them so. What a flag said
wrong is told by the flag.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from sigmafarm_common.errors import FieldError, InvalidRequest, InvalidRows, RowError, SigmafarmError, UnknownModel

#: How settings of the farm are named that came by a flag.
_FLAG = re.compile(r"\b([a-z0-9_]+) \(flag\)")
#: How rows keep a column, in Python's words.
_KEEP = re.compile(r"\bkeep=(\S+)")


def named_as_typed(error: SigmafarmError, params: Iterable[Any], said: Mapping[str, Any]) -> SigmafarmError:
    """Return an error in the words of the command line. `params` are the command's, `said` their values."""
    flags = {param.name: flag for param in params if (flag := _typed(param.opts))}
    if isinstance(error, InvalidRequest):
        return InvalidRequest([_renamed(field, flags) for field in error.fields], num_more=error.num_more)
    if isinstance(error, InvalidRows):
        own = {} if said.get("file") else flags  # in a file, settings are called as they are in files
        rows = [RowError(row.row, tuple(_renamed(field, own) for field in row.fields)) for row in error.rows]
        error = InvalidRows(rows, error.num_rows, num_bad=error.num_bad)
    if error.args and isinstance(error.args[0], str):
        error.args = (_in_flags(error.args[0], is_of_model=isinstance(error, UnknownModel)), *error.args[1:])
    return error


def row_in_flags(row: RowError) -> RowError:
    """Return a bad row that was left out, in the same words."""
    return RowError(row.row, tuple(FieldError(each.field, _in_flags(each.message)) for each in row.fields))


def _typed(options: Iterable[str]) -> str:
    """Return which of a parameter's flags was typed, else its first; empty for an argument."""
    flags = [option for option in options if option.startswith("--")]
    typed = [each for each in flags if any(word == each or word.startswith(f"{each}=") for word in sys.argv)]
    return (typed or flags or [""])[0]


def _renamed(field: FieldError, flags: Mapping[str, str]) -> FieldError:
    message, flag = field.message, flags.get(field.field)
    if flag and message.startswith(f"{field.field} "):
        message = flag + message[len(field.field) :]
    # a name of one word is a word too; in a sweep, settings are called as they are in files
    for name in (name for name in flags if "_" in name and field.field != "sweep"):
        message = re.sub(rf"(?<![\w-]){name}(?![\w-])", flags[name], message)
    return FieldError(field.field, _in_flags(message))


def _in_flags(message: str, *, is_of_model: bool = False) -> str:
    message = _FLAG.sub(lambda found: "--" + found[1].replace("_", "-"), message)
    message = _KEEP.sub(r"--keep \1", message).replace("by skip_bad", "with --skip-bad", 1)
    return f"--{message}" if is_of_model and message.startswith("model is") and "--model" in sys.argv else message
