"""What a file is that is no text, whatever it is called, by its first bytes."""

from __future__ import annotations

from collections.abc import Mapping

#: Bytes that tell what a file is.
LOOKED_AT_BYTES = 16
#: How files begin that are no text.
SIGNATURES: Mapping[bytes, str] = {
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"GIF8": "a picture",
    b"RIFF": "a picture",
    b"II*\0": "a picture",
    b"MM\0*": "a picture",
    b"PK\x03\x04": "a spreadsheet, document or archive",
    b"\xd0\xcf\x11\xe0": "a spreadsheet or document",
    b"%PDF-": "a document",
    b"\x1f\x8b": "an archive",
    b"BZh": "an archive",
    b"\xfd7zXZ": "an archive",
    b"(\xb5/\xfd": "an archive",
    b"7z\xbc\xaf": "an archive",
    b"Rar!\x1a": "an archive",
    b"PAR1": "a table in binary",
    b"SQLite format 3": "a table in binary",
    b"\x93NUMPY": "a table in binary",
}
#: Signatures that a prompt may begin with: behind them must stand what is no text.
_LETTERS_ONLY = (b"RIFF", b"BZh", b"GIF8", b"PAR1")


def kind_of_bytes(begin: bytes) -> str | None:
    """Return what a file is by its first bytes, None for what may be text."""
    for signature, what in SIGNATURES.items():
        if begin.startswith(signature) and (signature not in _LETTERS_ONLY or not begin.isascii() or 0 in begin):
            return what
    return None
