"""Which jobs are meant by what their rows said beside the settings: `id=A7`, `x_style=oil`, `line=12`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from sigmafarm_common.errors import FieldError, InvalidRequest
from sigmafarm_common.validation import shown

#: What names the line of the prompt file, which is no column.
LINE = "line"


@dataclass(frozen=True)
class Where:
    """A column of the submitter's own with a value, or the line of the file."""

    name: str
    value: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `name=value`. Raises InvalidRequest."""
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not name:
            said = "must be a column and its value, such as id=A7, or line=12"
            raise InvalidRequest([FieldError("where", f"where is {shown(text)}: {said}")])
        return cls(name, value)

    def matches(self, request: Mapping[str, Any]) -> bool:
        """Whether a job with this request is meant. A column without a value means jobs that do not have it."""
        columns: Any = request.get("columns") or {}
        if self.name == LINE and LINE not in columns:
            return str(request.get("line") or "") == self.value
        return columns.get(self.name, "") == self.value

    def __str__(self) -> str:
        return f"{self.name}={self.value}"
