"""Bodies of the fronts: JSON objects, whatever is sent."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from sigmafarm_common.errors import InvalidInput, InvalidRequest, UnreadableInput
from sigmafarm_common.validation import field_errors

Asked = TypeVar("Asked", bound=BaseModel)


def parse_body(body: bytes) -> dict[str, Any]:
    """Return the object that a body says. Raises InvalidInput."""
    try:
        value = json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        said = f"{error.msg} at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else str(error)
        raise UnreadableInput(f"the body is no JSON ({said})") from None
    if not isinstance(value, dict):
        raise InvalidInput("the body is no JSON object")
    return value


def check_fields(model: type[Asked], said: dict[str, Any]) -> Asked:
    """Return what is said as a model. Raises InvalidRequest with all bad fields."""
    try:
        return model.model_validate(said)
    except ValidationError as error:
        raise InvalidRequest(field_errors(error)) from None


def first_said(said: Mapping[str, Any], names: Iterable[str]) -> Any:
    """Return what is said under the first of some names that says anything, None where none does."""
    return next((said[name] for name in names if said.get(name) is not None), None)


async def drain_body(request: Request) -> None:
    """Read a body to its end and forget it: a client hears a refusal only when it has sent everything."""
    async for _ in request.stream():
        pass


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number")
