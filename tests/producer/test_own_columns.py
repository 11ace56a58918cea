"""Columns of the submitter's own: what a row says beside its settings is kept with its jobs, and changes no picture."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sigmafarm import Farm, InvalidRequest, InvalidRows, RenderRequest
from sigmafarm.picture_names import safe_stem
from sigmafarm.search import JobFilter, find_jobs
from sigmafarm.where import Where
from sigmafarm_common import adoption
from sigmafarm_common.errors import Conflict, RowError, UnreadableInput
from sigmafarm_common.manifest import write_manifest
from sigmafarm_common.store.redis_store import RedisStore
from tests.farm_hand import FarmHand

TABLE = "ID,prompt,Label,x_style,seed\nA7,a cat,pets,oil,1\nB2,a dog,,ink,oops\nC9,a cow,farm,,3\n"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "in.csv"
    path.write_text(TABLE)
    return path


def test_columns_of_a_table_are_kept_with_their_jobs_and_so_is_the_line(hand: FarmHand, table: Path):
    batch = hand.farm.submit(table, skip_bad=True)

    first, last = batch.jobs()
    assert first.request.columns == {"id": "A7", "label": "pets", "x_style": "oil"}
    assert (first.row, first.request.line) == (0, 2)
    assert (last.row, last.request.line, last.request.columns) == (1, 4, {"id": "C9", "label": "farm"})


def test_rows_of_python_and_json_keep_theirs_as_texts(hand: FarmHand, tmp_path: Path):
    path = tmp_path / "in.jsonl"
    path.write_text('{"prompt": "a", "id": 7, "x_deep": true, "label": null}\n"b"\n')

    (of_file, bare), (of_python,) = (
        hand.farm.submit(path).jobs(),
        hand.farm.submit([{"prompt": "a", "id": 1.5, "label": float("nan"), "columns": {"x": "y"}}]).jobs(),
    )

    assert of_file.request.columns == {"id": "7", "x_deep": "true"}
    assert (bare.request.columns, bare.request.line) == (None, 2)
    assert of_python.request.columns == {"id": "1.5", "x": "y"}
    assert of_python.request.line is None


def test_other_columns_are_kept_if_they_are_named_and_refused_with_the_cure_if_not(hand: FarmHand, tmp_path: Path):
    (tmp_path / "in.csv").write_text("prompt,Image Id\na,7\n")

    (job,) = hand.farm.submit(tmp_path / "in.csv", keep="Image Id").jobs()
    (other,) = hand.farm.submit([{"prompt": "a", "split": "test"}], keep=["split"]).jobs()

    assert job.request.columns == {"image_id": "7"}
    assert other.request.columns == {"split": "test"}
    with pytest.raises(UnreadableInput, match=r"did you mean image_index.* keep=image_id keeps it .* x_image_id"):
        hand.farm.submit(tmp_path / "in.csv")
    with pytest.raises(InvalidRows, match=r"split is no setting of a job: .*keep=split keeps it with the jobs"):
        hand.farm.submit([{"prompt": "a", "split": "test"}])
    with pytest.raises(InvalidRequest, match="keep names seed, which a job has already"):
        hand.farm.submit(["a"], keep="id,seed")


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"id": "a" * 1001}, "id has 1001 characters, 1000 is the most of a column"),
        ({f"x_{n}": "a" * 900 for n in range(5)}, "they have 4515 characters together, 4096 is the most of a job"),
        ({f"x_{n}": "a" for n in range(33)}, "a job keeps 32 columns at most"),
        ({"x_" + "n" * 60: "a"}, "a name has 1 to 60 characters"),
        ({"id": [1]}, "id must be a text, a number or a truth value"),
    ],
)
def test_columns_that_are_too_much_are_refused_with_their_size(hand: FarmHand, columns: dict[str, str], said: str):
    with pytest.raises(InvalidRows, match=said):
        hand.farm.submit([{"prompt": "a", **columns}])


def test_each_job_of_a_matrix_and_of_repeats_carries_the_columns_of_its_row(hand: FarmHand, tmp_path: Path):
    (tmp_path / "in.csv").write_text("prompt,id\na,A7\nb,B2\n")

    batch = hand.farm.submit(tmp_path / "in.csv", sweep={"guidance_scale": [5, 7.5]}, repeat=2)

    said = [((job.request.columns or {})["id"], job.request.line) for job in batch.jobs()]
    assert said == [("A7", 2)] * 4 + [("B2", 3)] * 4


def test_columns_that_a_thousand_jobs_share_are_stored_once(hand: FarmHand):
    about = "a long remark on the row that all its jobs share " * 10

    batch = hand.farm.submit([{"prompt": "a", "x_about": about}], repeat=50)

    store = hand.farm.store
    assert isinstance(store, RedisStore)
    records = [store.redis.client.get(store.redis.key("job", f"{job.id}:request")) for job in batch.jobs()]
    assert all(about not in str(record) for record in records)
    assert {(job.request.columns or {})["x_about"] for job in batch.jobs()} == {about.strip()}


def test_an_idempotency_key_holds_for_the_columns_too(hand: FarmHand):
    hand.farm.submit([{"prompt": "a", "id": "1"}], idempotency_key="k")

    again = hand.farm.submit([{"prompt": "a", "id": "1"}], idempotency_key="k")

    assert not again.is_new
    with pytest.raises(Conflict):
        hand.farm.submit([{"prompt": "a", "id": "2"}], idempotency_key="k")


def test_jobs_that_differ_in_columns_only_are_equal_and_share_a_picture(hand: FarmHand):
    rows = [RenderRequest(prompt="a", seed=4, columns={"id": each}) for each in ("1", "2")]

    batch = hand.farm.submit(rows, reuse=True)
    hand.work_all()

    assert batch.record.num_reused == 1
    assert [(job.request.columns or {})["id"] for job in batch.jobs()] == ["1", "2"]


def test_the_manifest_tells_the_columns_and_an_adoption_takes_them_from_there(hand: FarmHand, table: Path):
    farm = hand.farm
    batch = farm.submit(table, skip_bad=True)
    hand.work_all()
    write_manifest(farm.store, farm.objects, batch.id)

    lines = [json.loads(line) for line in farm.objects.get(f"{batch.id}/manifest.jsonl").splitlines()]
    remains = adoption.remains_of(farm.objects, batch.id)

    assert lines[1]["columns"] == {"id": "C9", "label": "farm"}
    assert (lines[1]["line"], "columns" in lines[1]["settings"]) == (4, False)
    adopted = list(adoption.adopted_jobs(farm.objects, remains))
    assert [job.request.columns for job in adopted] == [job.request.columns for job in batch.jobs()]
    assert adopted[1].request.line == 4


@pytest.mark.parametrize(
    ("text", "rows"), [("id=A7", [0]), ("label=", [2]), ("line=3", [1]), ("x_style=ink", [1]), ("id=none", [])]
)
def test_jobs_are_found_by_their_columns_and_their_line(hand: FarmHand, tmp_path: Path, text: str, rows: list[int]):
    (tmp_path / "in.csv").write_text("prompt,id,label,x_style\na,A7,p,oil\nb,B2,p,ink\nc,C9,,oil\n")

    batch = hand.farm.submit(tmp_path / "in.csv")

    found = find_jobs(hand.farm.store, batch.record, JobFilter(where=(Where.parse(text),))).ids

    assert [int(each.rpartition("-")[2]) for each in found] == rows


@pytest.mark.parametrize(
    ("search", "rows"), [("id:a7", [0]), ("x_style:OIL", [0, 2]), ("label:p", [0, 1]), ("x_style:oil label:p", [0])]
)
def test_a_search_knows_columns_by_name(hand: FarmHand, tmp_path: Path, search: str, rows: list[int]):
    (tmp_path / "in.csv").write_text("prompt,id,label,x_style\na,A7,p,oil\nb,B2,p,ink\nc,C9,,oil\n")
    batch = hand.farm.submit(tmp_path / "in.csv")

    found = find_jobs(hand.farm.store, batch.record, JobFilter(search=search)).ids

    assert [int(each.rpartition("-")[2]) for each in found] == rows


def test_a_question_without_a_value_is_refused():
    with pytest.raises(InvalidRequest, match="where is 'id': must be a column and its value, such as id=A7"):
        Where.parse("id")


# -- in the names of files


def test_pictures_are_named_by_a_column_made_safe_with_doubles_told(hand: FarmHand, tmp_path: Path):
    rows = [{"prompt": "a", "id": each} for each in ("../A 7", "b", "B", "", "con", "b-2")]
    batch = hand.farm.submit(rows)
    hand.work_all()

    done = batch.download(tmp_path / "out", name_by="id")

    names = ["000003.png", "B-2.png", "_con.png", "_A 7.png", "b.png", "b-2-2.png"]
    assert sorted(p.name for p in (tmp_path / "out").glob("*.png")) == sorted(names)
    assert (done.num_fetched, done.num_doubled, done.num_unnamed) == (6, 2, 1)
    manifest = [json.loads(line) for line in (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()]
    assert [line["key"] for line in manifest][:3] == ["_A 7.png", "b.png", "B-2.png"]
    assert batch.download(tmp_path / "out", name_by="id").num_present == 6


def test_a_column_that_no_job_has_names_no_file(hand: FarmHand, tmp_path: Path):
    batch = hand.farm.submit([{"prompt": "a", "id": "1", "label": "x"}])

    with pytest.raises(InvalidRequest, match="the jobs have no such column; their columns are id, label"):
        batch.download(tmp_path, name_by="name")


@pytest.mark.parametrize(
    ("text", "stem"),
    [("a/b\\c", "a_b_c"), ("...", ""), ("é" * 200, "é" * 75), ("lpt1.x", "_lpt1.x"), ("tab\t.", "tab_")],
)
def test_text_becomes_a_name_that_every_file_system_takes(text: str, stem: str):
    assert safe_stem(text) == stem


# -- bad rows


def test_every_bad_row_is_told_as_it_is_found(farm: Farm, hand: FarmHand, table: Path):
    told: list[tuple[int, str]] = []

    def on_bad(error: RowError, item: object) -> None:
        told.append((error.row, getattr(item, "data")["id"]))  # noqa: B009 - a row of a file has them

    farm.submit(table, skip_bad=True, on_bad=on_bad)

    assert told == [(3, "B2")]
