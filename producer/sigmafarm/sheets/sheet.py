"""A batch's sheet: reads its jobs once, and draws a page when it is asked for. No page needs more pictures at once than
it shows, and each is made small as soon as it is fetched."""

from __future__ import annotations

import io
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path

from PIL import Image

from sigmafarm.sheets.drawing import draw_page
from sigmafarm.sheets.layout import MAX_JOBS, Layout, lay_out
from sigmafarm_common.errors import FieldError, InvalidRequest, NotFound
from sigmafarm_common.manifest import all_jobs
from sigmafarm_common.objects import ObjectStore
from sigmafarm_common.records import Batch
from sigmafarm_common.store.protocol import ReadSide

#: The longest side of a picture on the sheet in pixels, as it is unless said, and its range.
SIDE_PX, LEAST_SIDE_PX, MOST_SIDE_PX = 160, 48, 256
#: Pages that are written unless more are asked for.
MAX_PAGES = 20
#: Pictures that are fetched at the same time.
NUM_THREADS = 8
_FORMATS = ("PNG", "JPEG", "WEBP")


class Sheet:
    """The contact sheet of a batch as it is now. Raises NotFound for a batch without jobs, StoreUnavailable."""

    def __init__(self, store: ReadSide, objects: ObjectStore, batch: Batch, *, side_px: int = SIDE_PX):
        if not LEAST_SIDE_PX <= side_px <= MOST_SIDE_PX:
            said = f"side_px is {side_px}: must be between {LEAST_SIDE_PX} and {MOST_SIDE_PX}"
            raise InvalidRequest([FieldError("side_px", said)])
        self._objects, self._batch, self._side_px = objects, batch, side_px
        self.layout: Layout = lay_out(islice(all_jobs(store, batch.id), MAX_JOBS))

    @property
    def num_pages(self) -> int:
        return len(self.layout.pages)

    def draw(self, page: int = 1) -> Image.Image:
        """Return a page, counted from 1. Raises NotFound for one that there is not, StorageUnavailable, AccessDenied.

        A picture that is gone from the store, or is none, is a gap that says so."""
        if not 1 <= page <= self.num_pages:
            raise NotFound(f"the sheet of batch {self._batch.id} has no page {page}: it has {self.num_pages}")
        cells = (cell for block in self.layout.pages[page - 1] for line in block.cells for cell in line)
        pictures = self._fetch(cell.key for cell in cells if cell.key)
        total = self._batch.counts.total
        note = f"The first {self.layout.num_jobs:,} of {total:,} jobs" if total > self.layout.num_jobs else ""
        named = self._batch.title != self._batch.id
        title = self._batch.title if named else f"Batch {self._batch.id}"
        return draw_page(self.layout, page - 1, pictures, title=title, side_px=self._side_px, note=note)

    def save(self, file: Path, *, max_pages: int = MAX_PAGES) -> list[Path]:
        """Write the pages as `sheet.png`, `sheet-2.png` and so on, and return their names. Raises OSError for a place
        that cannot be written, and what `draw` raises."""
        names: list[Path] = []
        for page in range(1, min(self.num_pages, max_pages) + 1):
            names.append(file if page == 1 else file.with_stem(f"{file.stem}-{page}"))
            self.draw(page).save(names[-1])
        return names

    def _fetch(self, keys: Iterable[str]) -> dict[str, Image.Image]:
        box = (self._side_px, round(self._side_px * self.layout.aspect))
        wanted = list(dict.fromkeys(keys))
        with ThreadPoolExecutor(NUM_THREADS, "sheet") as pool:
            found = pool.map(partial(_small, self._objects, box), wanted)
            return {key: picture for key, picture in zip(wanted, found, strict=True) if picture is not None}


def _small(objects: ObjectStore, box: tuple[int, int], key: str) -> Image.Image | None:
    """Return a stored picture that fits a box, enlarged without smoothing if it is small; None for what is none."""
    try:
        with Image.open(io.BytesIO(objects.get(key)), formats=_FORMATS) as image:
            factor = min(box[0] / image.width, box[1] / image.height)
            size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
            image.draft("RGB", size)
            how = Image.Resampling.NEAREST if factor > 1 else Image.Resampling.LANCZOS
            return image.convert("RGB").resize(size, how, reducing_gap=2.0 if factor < 1 else None)
    except (NotFound, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
