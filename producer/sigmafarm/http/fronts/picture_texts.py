"""Pictures within JSON: base 64, bare or as a data URL."""

from __future__ import annotations

import base64
import binascii

from sigmafarm_common.errors import FieldError, InvalidRequest


def read_base64(text: str, field: str) -> bytes:
    """Return the bytes that a text says. Raises InvalidRequest."""
    data = text.partition(",")[2] if text.startswith("data:") else text
    try:
        return base64.b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        message = f"{field} is no picture in base 64 ({error}): encode the file's bytes"
        raise InvalidRequest([FieldError(field, message)]) from None
