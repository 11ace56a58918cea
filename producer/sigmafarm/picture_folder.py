"""A folder of pictures as a batch: each row once for every picture of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from sigmafarm.items import InputRow, Item
from sigmafarm.rows import said_by
from sigmafarm_common.errors import FieldError, InvalidRequest

#: Endings of the files that are taken; all others are left aside.
ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".webp"})


def pictures_in(folder: Path) -> list[Path]:
    """Return the pictures of a folder by name, without those of folders in it. Raises InvalidRequest for none."""
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in ENDINGS and path.is_file())
    if not found:
        said = f"init_image is the folder {str(folder)!r}: there is no .png, .jpg, .jpeg or .webp in it"
        raise InvalidRequest([FieldError("init_image", said)])
    return found


def once_a_picture(rows: Iterable[Item], pictures: Iterable[Path]) -> Iterator[Item]:
    """Yield each row once for each picture; a row that names one of its own comes once."""
    paths = list(pictures)
    for row in rows:
        said = said_by(row)
        if said is None or said.get("init_image") is not None:
            yield row
            continue
        for path in paths:
            data = {**said, "init_image": path}
            yield replace(row, data=data) if isinstance(row, InputRow) else data
