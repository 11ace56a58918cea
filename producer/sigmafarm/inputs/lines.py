"""From the bytes of a file to its lines as text, however it was saved.

UTF-8 with a mark at its beginning or without, UTF-16 with one (what Excel calls Unicode text). A line ends with LF, CR
LF or CR. U+FEFF is a mark and never text: files that were joined carry it in their middle.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import chain

from sigmafarm.inputs.formats import no_prompts
from sigmafarm.inputs.signatures import LOOKED_AT_BYTES, kind_of_bytes
from sigmafarm_common.errors import UnreadableInput

#: Longest line of a file, and row of a CSV, which may have several: a prompt and its negative one, both escaped, have
#: room. What reads a line needs memory for one.
MAX_LINE_BYTES = 1 << 20
#: Bytes that are read at once.
PIECE_BYTES = 1 << 16
#: How UTF-16 begins, by its byte order.
UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_LINE_END = re.compile(rb"\r\n|\n|\r(?!$)")
_MARK = "\ufeff"


def lines_of(name: str, source: Iterable[bytes]) -> Generator[str]:
    """Yield the lines of a file, or of pieces that are at hand, each with a line feed at its end but the last; `name`
    stands in errors. Raises UnreadableInput, with the line, for what is no text."""
    for number, line in enumerate(_split(name, _as_utf8(name, _pieces(source))), start=1):
        if len(line) > MAX_LINE_BYTES:
            raise _too_long(name, number)
        yield _decoded(name, number, line)


def _pieces(source: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the bytes of a file piece by piece, or the pieces that there are."""
    read: Callable[[int], bytes] | None = getattr(source, "read", None)
    return iter(source) if read is None else iter(lambda: read(PIECE_BYTES), b"")


def _as_utf8(name: str, pieces: Iterator[bytes]) -> Iterator[bytes]:
    begin = b""
    for piece in pieces:
        begin += piece
        if len(begin) >= LOOKED_AT_BYTES:
            break
    if what := kind_of_bytes(begin[:LOOKED_AT_BYTES]):
        raise no_prompts(name, what)
    if not begin.startswith(UTF16_MARKS):
        yield begin
        yield from pieces
        return
    decoder = codecs.getincrementaldecoder("utf-16")()
    try:
        for piece in chain([begin], pieces):
            yield decoder.decode(piece).encode("utf-8")
        yield decoder.decode(b"", final=True).encode("utf-8")
    except UnicodeError:
        raise UnreadableInput(f"{name} begins as UTF-16 and is none: save the file as UTF-8") from None


def _split(name: str, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield lines, each but the last with a line feed at its end. A CR at the end of a piece waits for the next."""
    kept, number = b"", 1
    for piece in pieces:
        kept += piece
        start = 0
        for end in _LINE_END.finditer(kept):
            yield kept[start : end.start()] + b"\n"
            start, number = end.end(), number + 1
        kept = kept[start:]
        if len(kept) > MAX_LINE_BYTES:
            raise _too_long(name, number)
    if kept.endswith(b"\r"):
        yield kept[:-1] + b"\n"
    elif kept:
        yield kept


def _decoded(name: str, number: int, line: bytes) -> str:
    if (at := line.find(0)) >= 0:
        raise UnreadableInput(
            f"{name} line {number} is no text (byte {at + 1} is NUL): save the file as UTF-8, and check that it is no "
            "spreadsheet or picture"
        )
    try:
        return line.decode("utf-8").replace(_MARK, "")
    except UnicodeDecodeError as error:
        byte = f"byte {error.start + 1} is 0x{line[error.start]:02x}"
        raise UnreadableInput(f"{name} line {number} is no UTF-8 ({byte}): save the file as UTF-8") from None


def _too_long(name: str, number: int) -> UnreadableInput:
    return UnreadableInput(f"{name} line {number} has more than {MAX_LINE_BYTES} bytes: no row is so long")
