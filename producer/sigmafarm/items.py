"""What a submission is made of: its rows, as they come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from sigmafarm_common.errors import FieldError
from sigmafarm_common.settings import RenderRequest


@dataclass(frozen=True)
class Written:
    """A row as it stands in its file: the names of its cells, as they are written there, and the cells. A row that does
    not fit its header has more of one than of the other."""

    columns: Sequence[str]
    cells: Sequence[Any]
    #: What stands between the cells of a table.
    delimiter: str = ","


@dataclass(frozen=True)
class InputRow:
    """One row of a prompt file: its line number, and what it says or what is wrong with it."""

    number: int
    data: Mapping[str, Any]
    errors: tuple[FieldError, ...] = ()
    #: Whether its seed was drawn for it: said again, the row has another.
    is_seed_drawn: bool = False
    #: How it is written, None for what is no row of a file: so bad rows are handed back.
    written: Written | None = field(default=None, compare=False, repr=False)

    @classmethod
    def bad(cls, number: int, message: str, written: Written | None = None) -> Self:
        """Return a row that cannot be read, with the reason."""
        return cls(number, {}, (FieldError("row", message),), written=written)


#: What a row may be: a prompt, its settings by name, a request, or a row of a file.
Item = str | Mapping[str, Any] | RenderRequest | InputRow
