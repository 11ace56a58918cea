"""A call that draws several pictures from one generator: each row is told its place in it.

The reference programs draw the noise of a list of prompts at once, torch.randn(number of prompts, 4, H, W). A row that
knows the seed, its place and how many there are draws the same picture by itself, wherever and with whomever.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from typing import Any

from sigmafarm.items import InputRow, Item
from sigmafarm.rows import said_by
from sigmafarm_common.errors import FieldError, InvalidRequest
from sigmafarm_common.picture_settings import MAX_IMAGE_COUNT
from sigmafarm_common.setting_fields import text_of
from sigmafarm_common.settings import RANDOM_SEED_END, draws_seed
from sigmafarm_common.validation import shown


def in_one_call(rows: Iterable[Item], seed: int | None) -> list[Item]:
    """Return rows as those of one call with a seed, or with one that is drawn now; one with a seed of its own is a bad
    row. Raises InvalidRequest for too many rows."""
    items = list(islice(rows, MAX_IMAGE_COUNT + 1))
    if len(items) > MAX_IMAGE_COUNT:
        said = f"one_generator: there are more than {MAX_IMAGE_COUNT} rows, the most of one call: submit them in parts"
        raise InvalidRequest([FieldError("one_generator", said)])
    is_drawn = draws_seed(seed)
    call_seed = secrets.randbelow(RANDOM_SEED_END) if seed is None or is_drawn else seed
    placed = (_placed(item, call_seed, index, len(items)) for index, item in enumerate(items))
    return [replace(row, is_seed_drawn=is_drawn) if isinstance(row, InputRow) else row for row in placed]


def _placed(item: Item, seed: int, index: int, count: int) -> Item:
    said = said_by(item)
    if said is None:
        return item
    row = item if isinstance(item, InputRow) else InputRow(index + 1, said)
    if not draws_seed(said.get("seed")) and text_of(said["seed"]) != str(seed):
        cure = f"one_generator draws all rows from seed {seed}: name the seed once, for all of them"
        return replace(row, errors=(FieldError("seed", f"seed is {shown(said['seed'])}: {cure}"),))
    data: dict[str, Any] = {**said, "seed": seed, "image_index": index, "image_count": count}
    return replace(row, data=data)
