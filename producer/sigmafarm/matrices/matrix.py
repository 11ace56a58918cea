"""What makes many jobs of a row: alternatives and lists in its prompt, and a sweep over settings.

Of each row come its prompts, and of each prompt the combinations of the sweep, in this order. Each job carries what was
chosen for it as labels, and its prompt and settings as drawn: said again alone, it is the same job. Jobs that differ
only in what is swept share their seed, so that nothing else differs; each prompt of alternatives has its own, unless
one is named.

What is drawn by chance follows from `draw_seed` and the row's number alone: the same rows with the same draw_seed are
the same prompts.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any, TypedDict

from sigmafarm.items import InputRow, Item, Written
from sigmafarm.matrices.sweep import Sweep
from sigmafarm.matrices.templates import Pick, Template, parse
from sigmafarm.matrices.wildcards import FolderLists
from sigmafarm_common.errors import FieldError, InvalidRequest, RowError, TooLarge
from sigmafarm_common.setting_fields import text_of
from sigmafarm_common.settings import (
    MAX_LABEL_CHARS,
    MAX_LABELS,
    MAX_PROMPT_CHARS,
    RANDOM_SEED_END,
    RenderRequest,
    Settings,
    draws_seed,
)
from sigmafarm_common.validation import too_many_names

#: Jobs that one row may stand for.
MAX_ROW_JOBS = 1_000_000
#: The longest prompt with alternatives that is looked at.
MAX_TEMPLATE_CHARS = 8 * MAX_PROMPT_CHARS
#: The most prompts that may be drawn of a row, and the end of the seeds for that.
MAX_DRAWS, DRAW_SEED_END = 100_000, 2**63
#: The label that says which row of a submission a job is of.
ROW_LABEL = "row"


class MatrixSaid(TypedDict, total=False):
    """What is said of a matrix; whatever is left out, is not asked for."""

    #: Values by setting (`{"guidance_scale": [5, 7.5]}`), or texts such as `guidance_scale=5,7.5`.
    sweep: Mapping[str, Any] | Sequence[str]
    #: Whether `{red|blue}` in prompts stands for several.
    alternatives: bool
    #: The folder of lists; one that is named asks for alternatives too.
    wildcards: str | Path | None
    #: So many prompts drawn of each row, in place of all of them; and the seed of that.
    draws: int
    draw_seed: int


@dataclass(frozen=True)
class Counted:
    """How many rows were written, and how many they make; and the first that cannot be read, which counts as one."""

    num_written: int
    num: int
    bad: RowError | None = None


@dataclass(frozen=True)
class Matrix:
    """How rows become several jobs. As it stands, with nothing said, each row is one."""

    sweep: Sweep = field(default_factory=Sweep)
    #: Whether braces in prompts are alternatives, and names of lists are lists.
    has_alternatives: bool = False
    #: The folder of lists; None: there are none, and `__name__` is text.
    wildcards: Path | None = None
    #: So many prompts are drawn of each row, in place of all of them. 0: all.
    draws: int = 0
    draw_seed: int = 0

    def check(self) -> None:
        """Raise InvalidRequest with all bad fields."""
        bad: list[FieldError] = []
        if not 0 <= self.draws <= MAX_DRAWS:
            bad.append(FieldError("draws", f"draws is {self.draws}: must be between 0 and {MAX_DRAWS}"))
        if self.draws and not self.has_alternatives:
            bad.append(FieldError("draws", f"draws is {self.draws}: only alternatives can be drawn; ask for them too"))
        if not 0 <= self.draw_seed < DRAW_SEED_END:
            bad.append(FieldError("draw_seed", f"draw_seed is {self.draw_seed}: must be between 0 and 2^63 - 1"))
        if bad:
            raise InvalidRequest(bad)

    @property
    def is_plain(self) -> bool:
        """Whether each row is one job, as it stands."""
        return not self.has_alternatives and not self.sweep.axes

    def rows(self, items: Iterable[Item], defaults: Settings, *, most: int | None = None) -> Iterator[Item]:
        """Yield the rows of all jobs; what is wrong with one travels with it. Raises TooLarge as soon as it is clear
        that there are more than `most`."""
        num = 0
        for number, item in enumerate(items, start=1):
            row = self._read(number, item)
            num += row.num if isinstance(row, _Row) else 1
            if most is not None and num > most:
                raise TooLarge(
                    f"the submission makes more than {most} rows, the most that is taken at once: send it in parts, or "
                    "raise SIGMAFARM_MAX_ROWS"
                )
            if isinstance(row, _Row):
                yield from self._jobs(row, defaults)
            else:
                yield row

    def count(self, items: Iterable[Item], *, most: int | None = None) -> Counted:
        """Count the rows that `rows` would make, without making them; stops above `most`. Raises UnreadableInput."""
        num_rows, num, bad = 0, 0, None
        for num_rows, item in enumerate(items, start=1):
            row = self._read(num_rows, item)
            if isinstance(row, InputRow) and row.errors and bad is None:
                bad = RowError(row.number, row.errors)
            num += row.num if isinstance(row, _Row) else 1
            if most is not None and num > most:
                break
        return Counted(num_rows, num, bad)

    @cached_property
    def _lists(self) -> FolderLists | None:
        return FolderLists(self.wildcards) if self.wildcards is not None and self.has_alternatives else None

    def _read(self, number: int, item: Item) -> _Row | Item:
        """Return a row that can be several; one that cannot, or is none, as it came: submission says what is wrong."""
        row = item if isinstance(item, InputRow) else InputRow(number, _said_by(item))
        prompt = row.data.get("prompt")
        if self.is_plain or row.errors or not isinstance(prompt, str) or too_many_names(row.data):
            return item
        try:
            template = self._template(prompt)
        except InvalidRequest as error:
            return replace(row, errors=error.fields)
        found = _Row(row.number, row.data, template, (self.draws or template.num) * self.sweep.num, row.written)
        if found.num > MAX_ROW_JOBS:
            said = f"row stands for {found.num} jobs: {MAX_ROW_JOBS} is the most; take fewer alternatives, or draw some"
            return replace(row, errors=(FieldError("prompt", said),))
        return found

    def _template(self, prompt: str) -> Template:
        if not self.has_alternatives:
            return Template((prompt,))
        if len(prompt) > MAX_TEMPLATE_CHARS:
            said = f"prompt has {len(prompt)} characters: {MAX_TEMPLATE_CHARS} at most, alternatives included"
            raise InvalidRequest([FieldError("prompt", said)])
        return parse(prompt, self._lists)

    def _jobs(self, row: _Row, defaults: Settings) -> Iterator[InputRow]:
        chance = Random(f"{self.draw_seed}/{row.number}")
        template = row.template
        picks = template.draws(self.draws, chance) if self.draws else template.picks(chance)
        has_seed = not draws_seed(row.data.get("seed", defaults.seed)) or "seed" in self.sweep.names
        is_seed_drawn = bool(self.sweep.axes and not has_seed)
        for pick in picks:
            data = {**row.data, "prompt": pick.prompt}
            if is_seed_drawn:
                data["seed"] = secrets.randbelow(RANDOM_SEED_END)
            for swept in self.sweep.combinations():
                said = {**data, **swept}
                if labels := _labels(row, pick, swept):
                    said["labels"] = labels
                yield InputRow(row.number, said, is_seed_drawn=is_seed_drawn, written=row.written)


def matrix_of(said: MatrixSaid, wildcards: Path | None) -> Matrix:
    """Return the matrix that is said; `wildcards` is the folder where none is named. Raises InvalidRequest with all bad
    fields."""
    swept, named = said.get("sweep") or {}, said.get("wildcards")
    if isinstance(swept, str):
        swept = [swept]
    made = Matrix(
        Sweep.read(swept) if isinstance(swept, Mapping) else Sweep.read_texts(swept),
        bool(said.get("alternatives") or named is not None),
        Path(named) if named is not None else wildcards,
        said.get("draws", 0),
        said.get("draw_seed", 0),
    )
    made.check()
    return made


@dataclass(frozen=True)
class _Row:
    """A row with its prompt read, and how many jobs it stands for."""

    number: int
    data: Mapping[str, Any]
    template: Template
    num: int
    written: Written | None


def _said_by(item: object) -> Mapping[str, Any]:
    if isinstance(item, str):
        return {"prompt": item}
    if isinstance(item, RenderRequest):
        return {name: value for name, value in item.__dict__.items() if value is not None}
    return item if isinstance(item, Mapping) else {}


def _labels(row: _Row, pick: Pick, swept: Mapping[str, Any]) -> Any:
    """Return what was chosen, by the axis' name; a row's own labels stay. A label is cut where it is long."""
    own = row.data.get("labels") or {}
    if not isinstance(own, Mapping) or not (pick.taken or swept):
        return own
    chosen = {ROW_LABEL: str(row.number), **pick.taken, **{name: text_of(value) for name, value in swept.items()}}
    short = {name[:MAX_LABEL_CHARS]: _short(text) for name, text in chosen.items()}
    return {**own, **dict(list(short.items())[: max(0, MAX_LABELS - len(own))])}


def _short(text: str) -> str:
    return text if len(text) <= MAX_LABEL_CHARS else text[: MAX_LABEL_CHARS - 1] + "…"
