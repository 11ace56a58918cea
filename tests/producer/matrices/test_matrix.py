"""Matrices on a real farm's records: what jobs come of rows, what each says of itself, and what is refused before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sigmafarm import Farm, InvalidRequest, InvalidRows, RenderRequest
from sigmafarm.matrices.matrix import MAX_ROW_JOBS, Matrix, matrix_of
from sigmafarm_common.errors import TooLarge, UnreadableInput
from sigmafarm_common.settings import Settings
from tests.farm_hand import FarmHand


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    folder = tmp_path / "lists"
    (folder / "zoo").mkdir(parents=True)
    (folder / "animal.txt").write_text("# of the wood\nfox\n\nowl\n{red|roe} deer\n", "utf-8")
    (folder / "zoo" / "rare.txt").write_text("3::lynx\n__animal__\n", "utf-8")
    (folder / "loop.txt").write_text("a\n__loop__\n", "utf-8")
    (folder / "empty.txt").write_text("# nothing\n", "utf-8")
    (tmp_path / "secret.txt").write_text("secret\n", "utf-8")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    return folder


def requests_of(farm: Farm, *prompts: Any, **said: Any) -> list[RenderRequest]:
    return [job.request for job in farm.submit(prompts, **said).jobs()]


def test_a_sweep_draws_each_row_with_each_combination_from_one_seed(farm: Farm, hand: FarmHand) -> None:
    jobs = requests_of(farm, "a", "b", sweep={"guidance_scale": [5, 7.5], "sampler": ["lms", "euler"]})

    assert [(r.prompt, r.guidance_scale, r.sampler) for r in jobs[:4]] == [
        ("a", 5, "lms"),
        ("a", 5, "euler"),
        ("a", 7.5, "lms"),
        ("a", 7.5, "euler"),
    ]
    assert jobs[3].labels == {"row": "1", "guidance_scale": "7.5", "sampler": "euler"}
    assert jobs[4].labels == {"row": "2", "guidance_scale": "5", "sampler": "lms"}
    assert len({r.seed for r in jobs[:4]}) == 1
    assert len({r.seed for r in jobs}) == 2


def test_alternatives_are_drawn_as_they_are_written_out(farm: Farm, hand: FarmHand) -> None:
    jobs = requests_of(farm, "a {red|blue} {barn|boat}", alternatives=True, repeat=2, defaults={"seed": 4})

    assert [r.prompt for r in jobs[::2]] == ["a red barn", "a red boat", "a blue barn", "a blue boat"]
    assert [r.seed for r in jobs[:4]] == [4, 5, 4, 5]
    assert jobs[3].labels == {"row": "1", "choice": "red", "choice 2": "boat", "repeat": "2"}


def test_any_job_can_be_said_again_alone(farm: Farm, hand: FarmHand) -> None:
    jobs = requests_of(farm, "{2::a|b} {c|d}", alternatives=True, sweep={"steps": [5, 9]})

    for each in jobs:
        (again,) = requests_of(farm, each)
        assert again == each


def test_braces_are_text_unless_alternatives_are_asked_for(farm: Farm, hand: FarmHand) -> None:
    (job,) = requests_of(farm, "a {red|blue} __animal__ barn")

    assert job.prompt == "a {red|blue} __animal__ barn"
    assert job.labels is None


def test_a_list_is_its_lines_and_their_alternatives(farm: Farm, hand: FarmHand, lists: Path) -> None:
    jobs = requests_of(farm, "one __animal__, __animal__?", wildcards=lists)

    assert len(jobs) == 16
    assert jobs[2].prompt == "one fox, red deer?"
    assert jobs[2].labels == {"row": "1", "animal": "fox", "animal 2": "red deer"}


def test_a_list_with_weights_is_drawn(lists: Path) -> None:
    matrix = matrix_of({"alternatives": True, "draws": 50}, lists)

    prompts = [row.data["prompt"] for row in matrix.rows(["__zoo/rare__"], Settings())]  # type: ignore[union-attr]

    assert len(prompts) == 50
    assert set(prompts) == {"lynx", "fox", "owl", "red deer", "roe deer"}
    assert prompts == [row.data["prompt"] for row in matrix.rows(["__zoo/rare__"], Settings())]  # type: ignore[union-attr]
    other = matrix_of({"alternatives": True, "draws": 50, "draw_seed": 1}, lists)
    assert prompts != [row.data["prompt"] for row in other.rows(["__zoo/rare__"], Settings())]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("__animl__", r"did you mean animal\?"),
        ("__nobody__", "lists are animal, empty"),
        ("__link__", "which is not there"),
        ("__zoo/../../secret__", "which is not there"),
        ("__loop__", "list loop names itself"),
        ("__empty__", "list empty has no line"),
        ("{a|b}" * 20, f"row stands for 1048576 jobs: {MAX_ROW_JOBS} is the most"),
        ("{a|b", "never closes them"),
    ],
)
def test_what_is_wrong_with_a_row_is_told_with_the_others(
    farm: Farm, hand: FarmHand, lists: Path, prompt: str, said: str
) -> None:
    with pytest.raises(InvalidRows, match=said) as raised:
        farm.submit(["fine", prompt, "{c|d"], wildcards=lists)

    assert [row.row for row in raised.value.rows] == [2, 3]
    assert farm.batches() == []


def test_a_folder_of_lists_that_is_none_is_told() -> None:
    with pytest.raises(UnreadableInput, match="the folder of lists"):
        list(matrix_of({"wildcards": "/nowhere"}, None).rows(["a"], Settings()))


def test_combinations_that_cannot_be_are_refused_or_skipped_one_by_one(farm: Farm, hand: FarmHand) -> None:
    sweep = {"sampler": ["lms", "ddpm"], "karras_sigmas": [False, True]}

    with pytest.raises(InvalidRows, match="sampler ddpm has none"):
        farm.submit(["a"], sweep=sweep)
    batch = farm.submit(["a"], sweep=sweep, skip_bad=True)

    assert (batch.counts.total, batch.num_skipped) == (3, 1)


def test_a_plan_is_what_would_be_submitted(farm: Farm, hand: FarmHand) -> None:
    plan = farm.plan(["a {b|c}", "d"], alternatives=True, sweep={"seed": "1..3"}, repeat=2, num_first=3)

    assert plan.num_jobs == 18
    assert [(r.prompt, r.seed) for r in plan.first] == [("a b", 1), ("a b", 2), ("a b", 2)]
    assert farm.batches() == []
    with pytest.raises(InvalidRequest, match="sweep of seed has no value"):
        farm.plan(["a"], sweep={"seed": []})


def test_too_many_are_refused_before_the_first_is_made() -> None:
    matrix = Matrix(has_alternatives=True)
    rows = matrix.rows(["{a|b}", "{a|b}" * 15], Settings(), most=1000)

    with pytest.raises(TooLarge, match="more than 1000 rows"):
        list(rows)


def test_drawing_needs_alternatives() -> None:
    with pytest.raises(InvalidRequest, match="only alternatives can be drawn"):
        matrix_of({"draws": 4}, None)
