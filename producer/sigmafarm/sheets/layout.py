"""Which job stands where on a sheet: its axes are found in the labels of the jobs, and cut into blocks and pages.

An axis is a label that has several values among the jobs; its values stand in the order in which they first occur. The
longer of the last two axes goes across, the other down, and each combination of all others is a block of its own.
Jobs without labels stand in row order, each with its prompt. Pure: records in, places out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sigmafarm_common.records import Job
from sigmafarm_common.settings import SETTING_FIELDS
from sigmafarm_common.states import JobState

#: The label of the row that a job was made of: shown as its prompt, where all of its jobs have the same.
ROW_LABEL = "row"
#: Cells across and down a block, and on a page.
MAX_COLUMNS, MAX_ROWS, MAX_CELLS = 10, 12, 120
#: Lines of cells on a page.
MAX_LINES = 12
#: Cells across a block of jobs without labels.
PLAIN_COLUMNS = 6
#: Jobs on a sheet, and characters of a prompt that are kept.
MAX_JOBS, SHOWN_CHARS = 10_000, 300


@dataclass(frozen=True)
class Cell:
    """One place: a job's picture, or why there is none."""

    #: Where the picture lies; empty for none.
    key: str = ""
    #: What stands in the place of a picture that is not there.
    gap: str = "no job"
    #: What stands below it.
    caption: str = ""
    #: Further jobs of the same place, which are not shown.
    num_more: int = 0


@dataclass(frozen=True)
class Block:
    """Cells in lines, with what stands above and beside them."""

    title: str
    #: What the values across and down are of; empty for none.
    across: str
    down: str
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    cells: tuple[tuple[Cell, ...], ...]

    @property
    def num_cells(self) -> int:
        return sum(len(line) for line in self.cells)


@dataclass(frozen=True)
class Layout:
    """A whole sheet: its pages, each of some blocks."""

    pages: tuple[tuple[Block, ...], ...]
    #: What all jobs have in common, in words.
    common: str
    #: Height of the pictures over their width.
    aspect: float
    num_jobs: int


@dataclass
class _Axis:
    name: str
    title: str
    #: Values in order, each with its words.
    words: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def says_one(self) -> bool:
        """Whether all jobs have one value, and it says something: a single row of several prompts does not."""
        only = next(iter(self.words.values()), "")
        return len(self.words) == 1 and not (self.name == ROW_LABEL and only == _row_words(next(iter(self.words))))


def lay_out(jobs: Iterable[Job]) -> Layout:
    """Return the places of jobs, which are those of one batch in row order."""
    seen = list(jobs)
    axes = _axes_of(seen)
    common = ", ".join(f"{axis.title}: {next(iter(axis.words.values()))}" for axis in axes if axis.says_one)
    varied = [axis for axis in axes if len(axis.words) > 1]
    blocks = _swept(seen, varied) if varied else _plain(seen)
    return Layout(tuple(_paged(blocks)), "" if not varied else common, _aspect_of(seen), len(seen))


def _axes_of(jobs: Sequence[Job]) -> list[_Axis]:
    axes: dict[str, _Axis] = {}
    for job in jobs:
        for name in job.request.labels or ():
            axes.setdefault(name, _Axis(name, _title_of(name)))
    prompts = _prompts_by_row(jobs)
    for job in jobs:
        labels = job.request.labels or {}
        for axis in axes.values():
            value = labels.get(axis.name, "")
            axis.words.setdefault(value, _words_of(axis.name, value, prompts))
    return _in_order(jobs, axes)


def _in_order(jobs: Sequence[Job], axes: Mapping[str, _Axis]) -> list[_Axis]:
    """Return the axes as the job with the most labels has them, then the others."""
    most: Mapping[str, str] = max((job.request.labels or {} for job in jobs), key=len, default={})
    return [axes[name] for name in dict.fromkeys([*most, *axes])]


def _prompts_by_row(jobs: Sequence[Job]) -> dict[str, set[str]]:
    prompts: dict[str, set[str]] = {}
    for job in jobs:
        if row := (job.request.labels or {}).get(ROW_LABEL):
            prompts.setdefault(row, set()).add(job.request.prompt)
    return prompts


def _title_of(name: str) -> str:
    return "Prompt" if name == ROW_LABEL else SETTING_FIELDS[name].label if name in SETTING_FIELDS else name


def _words_of(name: str, value: str, prompts: Mapping[str, set[str]]) -> str:
    if name == ROW_LABEL:
        said = prompts.get(value, set())
        return next(iter(said))[:SHOWN_CHARS] if len(said) == 1 else _row_words(value)
    if name in SETTING_FIELDS:
        about = SETTING_FIELDS[name].about
        return " ".join(filter(None, (about.words.get(value, value), about.unit)))
    return value or "-"


def _row_words(value: str) -> str:
    return f"row {value}"


def _swept(jobs: Sequence[Job], axes: Sequence[_Axis]) -> Iterable[Block]:
    """Yield the blocks of jobs with labels."""
    *outer, across = axes
    down = outer.pop() if outer else None
    if down and len(down.words) > len(across.words):
        across, down = down, across
    places: dict[tuple[str, ...], dict[tuple[str, str], list[Job]]] = {}
    for job in jobs:
        labels = job.request.labels or {}
        block = places.setdefault(tuple(labels.get(axis.name, "") for axis in outer), {})
        block.setdefault((labels.get(down.name, "") if down else "", labels.get(across.name, "")), []).append(job)
    for values, found in places.items():
        title = ", ".join(
            f"{axis.title}: {axis.words[value]}" for axis, value in zip(outer, values, strict=True) if value
        )
        rows = [row for row in (down.words if down else ("",)) if any(place[0] == row for place in found)]
        columns = [column for column in across.words if any(place[1] == column for place in found)]
        for some_rows in _pieces(rows, MAX_ROWS):
            for some in _pieces(columns, MAX_COLUMNS):
                yield Block(
                    title,
                    across.title,
                    down.title if down else "",
                    tuple(across.words[column] for column in some),
                    tuple(down.words[row] for row in some_rows) if down else (),
                    tuple(tuple(_cell(found.get((row, column), ())) for column in some) for row in some_rows),
                )


def _plain(jobs: Sequence[Job]) -> Iterable[Block]:
    """Yield the blocks of jobs without labels: in row order, each with its prompt."""
    for some in _pieces(jobs, MAX_ROWS * PLAIN_COLUMNS):
        lines = _pieces([_cell((job,), job.request.prompt[:SHOWN_CHARS]) for job in some], PLAIN_COLUMNS)
        yield Block("", "", "", (), (), tuple(tuple(line) for line in lines))


def _pieces(values: Sequence, size: int) -> Iterable[Sequence]:  # pyright: ignore[reportMissingTypeArgument, reportUnknownParameterType]
    return (values[begin : begin + size] for begin in range(0, len(values), size))


def _cell(jobs: Sequence[Job], caption: str = "") -> Cell:
    if not jobs:
        return Cell(caption=caption)
    job = next((each for each in jobs if each.image_key), jobs[0])
    gap = {JobState.FAILED: f"failed: {job.error_code}"}.get(job.state, str(job.state))
    return Cell(job.image_key, gap, caption, len(jobs) - 1)


def _paged(blocks: Iterable[Block]) -> Iterable[tuple[Block, ...]]:
    """Yield blocks in pages of at most MAX_CELLS; a page has one block at least."""
    page: list[Block] = []
    for block in blocks:
        num_cells = sum(each.num_cells for each in page) + block.num_cells
        num_lines = sum(len(each.cells) for each in page) + len(block.cells)
        if page and (num_cells > MAX_CELLS or num_lines > MAX_LINES):
            yield tuple(page)
            page = []
        page.append(block)
    if page:
        yield tuple(page)


def _aspect_of(jobs: Sequence[Job]) -> float:
    """Return the tallest picture's height over its width, within what a page can bear."""
    sizes = ((job.request.height or 512) / (job.request.width or 512) for job in jobs)
    return min(2.0, max((0.4, *sizes)))
