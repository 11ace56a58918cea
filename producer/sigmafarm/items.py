"""What a submission is made of: its rows, as they come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from sigmafarm_common.errors import FieldError
from sigmafarm_common.settings import RenderRequest


@dataclass(frozen=True)
class InputRow:
    """One row of a prompt file: its line number, and what it says or what is wrong with it."""

    number: int
    data: Mapping[str, Any]
    errors: tuple[FieldError, ...] = ()
    #: Whether its seed was drawn for it: said again, the row has another.
    is_seed_drawn: bool = False

    @classmethod
    def bad(cls, number: int, message: str) -> Self:
        """Return a row that cannot be read, with the reason."""
        return cls(number, {}, (FieldError("row", message),))


#: What a row may be: a prompt, its settings by name, a request, or a row of a file.
Item = str | Mapping[str, Any] | RenderRequest | InputRow
