"""What schemathesis is to know beside the description: how rows are sent."""

from __future__ import annotations

import schemathesis


def _as_text(_context: object, value: object) -> bytes:
    return value.encode("utf-8", "replace") if isinstance(value, str) else str(value).encode()


for kind in ("text/csv", "application/x-ndjson"):
    schemathesis.serializer(kind)(_as_text)
