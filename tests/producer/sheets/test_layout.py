"""Where jobs stand on a sheet: axes found in their labels, blocks, pages, gaps."""

from __future__ import annotations

from typing import Any

from sigmafarm import Job, JobState, RenderRequest
from sigmafarm.sheets.layout import MAX_CELLS, MAX_COLUMNS, MAX_LINES, lay_out


def job(number: int, state: JobState = JobState.SUCCEEDED, /, *, prompt: str = "a", **labels: str) -> Job:
    request = RenderRequest(prompt=prompt, labels=labels or None, width=64, height=64)
    about: dict[str, Any] = {"owner": "o", "model": "m", "priority": 0, "step": 0, "num_steps": 1, "fence": 1}
    key = f"b/{number}.png" if state is JobState.SUCCEEDED else ""
    return Job(
        id=f"b-{number:06d}",
        batch_id="b",
        row=number,
        state=state,
        request=request,
        attempts=0,
        losses=0,
        image_key=key,
        error_code="render_failed" if state is JobState.FAILED else "",
        **about,
    )


def swept(**values: list[str]) -> list[Job]:
    combinations: list[dict[str, str]] = [{}]
    for name, each in values.items():
        combinations = [{**said, name: value} for said in combinations for value in each]
    return [job(n, **said) for n, said in enumerate(combinations)]


def test_two_axes_are_a_table_the_longer_across() -> None:
    layout = lay_out(swept(row=["1"], guidance_scale=["1", "5", "9"], sampler=["lms", "euler_a"]))

    ((block,),) = layout.pages
    assert (block.across, block.columns) == ("Guidance", ("1", "5", "9"))
    assert (block.down, block.rows) == ("Sampler", ("LMS", "Euler a"))
    assert [[cell.key for cell in line] for line in block.cells] == [
        ["b/0.png", "b/2.png", "b/4.png"],
        ["b/1.png", "b/3.png", "b/5.png"],
    ]
    assert layout.common == "Prompt: a"


def test_further_axes_are_blocks_with_a_title() -> None:
    jobs = swept(row=["1", "2"], steps=["5", "9"], seed=["1", "2"])

    (blocks,) = lay_out(jobs).pages

    assert [block.title for block in blocks] == ["Prompt: a", "Prompt: a"]
    assert [block.num_cells for block in blocks] == [4, 4]


def test_a_row_of_several_prompts_is_called_by_its_number() -> None:
    jobs = [job(0, prompt="a", row="1", x="1"), job(1, prompt="b", row="1", x="2"), job(2, prompt="c", row="2", x="1")]

    ((block,),) = lay_out(jobs).pages

    assert block.rows == ("row 1", "c")
    assert [cell.gap for line in block.cells for cell in line if not cell.key] == ["no job"]


def test_gaps_say_why() -> None:
    states = [JobState.QUEUED, JobState.RUNNING, JobState.FAILED, JobState.CANCELLED]

    ((block,),) = lay_out([job(n, state, x=str(n)) for n, state in enumerate(states)]).pages

    assert [cell.gap for cell in block.cells[0]] == ["queued", "running", "failed: render_failed", "cancelled"]


def test_jobs_of_the_same_place_are_counted() -> None:
    jobs = [job(0, JobState.FAILED, x="1"), job(1, x="1"), job(2, x="2")]

    ((block,),) = lay_out(jobs).pages

    assert [(cell.key, cell.num_more) for cell in block.cells[0]] == [("b/1.png", 1), ("b/2.png", 0)]


def test_without_labels_jobs_stand_in_order_with_their_prompts() -> None:
    layout = lay_out([job(n, prompt=f"prompt {n}") for n in range(150)])

    captions = [cell.caption for page in layout.pages for block in page for line in block.cells for cell in line]
    assert captions == [f"prompt {n}" for n in range(150)]
    assert len(layout.pages) == 3


def test_pages_are_bounded_whatever_the_axes_are() -> None:
    jobs = swept(a=[str(n) for n in range(3)], b=[str(n) for n in range(25)], c=[str(n) for n in range(30)])

    pages = lay_out(jobs).pages

    assert sum(block.num_cells for page in pages for block in page) == len(jobs)
    for page in pages:
        assert sum(block.num_cells for block in page) <= MAX_CELLS
        assert sum(len(block.cells) for block in page) <= MAX_LINES
        assert max(len(line) for block in page for line in block.cells) <= MAX_COLUMNS


def test_a_batch_of_nothing_has_no_page() -> None:
    assert lay_out([]).pages == ()
