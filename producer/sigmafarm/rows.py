"""What a row of a submission says, whatever it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sigmafarm.items import InputRow
from sigmafarm_common.settings import RenderRequest


def said_by(row: Any) -> dict[str, Any] | None:
    """Return what a row says, None for one that cannot be read: what is wrong with it is told elsewhere."""
    if isinstance(row, str):
        return {"prompt": row}
    if isinstance(row, RenderRequest):
        return dict(row.__dict__)
    data: Any = row.data if isinstance(row, InputRow) else row
    is_bad = (isinstance(row, InputRow) and row.errors) or not isinstance(data, Mapping)
    return None if is_bad else {str(name): value for name, value in data.items()}
