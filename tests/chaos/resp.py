"""Where one message of Redis's protocol ends and the next begins, in both directions: as much as a proxy must know."""

from __future__ import annotations

#: Types of an answer that hold so many bytes, so many elements, or pairs of them. All others are one line.
BULKS, LISTS, PAIRS = b"$=!", b"*~>", b"%|"
END = b"\r\n"


class Messages:
    """Cuts a stream of bytes into whole messages."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes and return the messages that are whole now."""
        self._rest += data
        found: list[bytes] = []
        while (end := _end_of(self._rest, 0)) is not None:
            found.append(self._rest[:end])
            self._rest = self._rest[end:]
        return found


def command_of(request: bytes) -> str:
    """Return the name of a request's command in capitals."""
    parts = request.split(END, 3)
    return parts[2].decode("latin-1").upper() if len(parts) > 2 else ""


def _end_of(data: bytes, start: int) -> int | None:
    """Return where the message that begins at `start` ends, None if it is not whole."""
    line_end = data.find(END, start)
    if line_end < 0:
        return None
    kind, at = data[start : start + 1], line_end + len(END)
    if kind in (b"", b"+", b"-", b":") or kind not in BULKS + LISTS + PAIRS:
        return at
    size = int(data[start + 1 : line_end])
    if kind in BULKS:
        at += size + len(END) if size >= 0 else 0
        return at if at <= len(data) else None
    for _ in range(size * (2 if kind in PAIRS else 1)):
        if (end := _end_of(data, at)) is None:
            return None
        at = end
    return at
