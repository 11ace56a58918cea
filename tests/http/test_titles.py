"""A batch without a name is called by its file, else by its first prompt; lists show its first pictures."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest

from sigmafarm import Farm
from sigmafarm.titles import title_of
from tests.farm_hand import FarmHand

HTML = {"Accept": "text/html"}


@pytest.mark.parametrize(
    ("source", "prompt", "title"),
    [
        ("barns.csv", "a barn", "barns.csv"),
        ("", "a barn\n at   dusk", "a barn at dusk"),
        ("", "a lighthouse at dawn, long shadows, " * 9, "a lighthouse at dawn, long shadows, a lighthouse at dawn…"),
        ("", "x" * 500, "x" * 60 + "…"),
        ("pic\udcff.txt", "a", "pic?.txt"),
        ("", "", ""),
    ],
)
def test_a_title_is_a_line_of_a_few_words(source: str, prompt: str, title: str):
    assert title_of(source, prompt) == title


def test_a_batch_is_called_by_its_name_its_file_or_its_first_prompt(
    http: httpx2.Client, farm: Farm, hand: FarmHand, tmp_path: Path
):
    (tmp_path / "barns.txt").write_text("a red barn\na blue barn\n")
    named, by_path = farm.submit(["a"], name="mine"), farm.submit(tmp_path / "barns.txt")
    by_prompt = http.post("/v1/batches", json={"prompts": ["an owl at night", "b"]}).json()["batch"]
    sent = http.post("/v1/batches", files={"file": ("owls.txt", b"an owl\n")}).json()["batch"]

    assert (named.record.name, named.record.title) == ("mine", "mine")
    assert (by_path.record.name, by_path.record.title) == ("", "barns.txt")
    assert (by_prompt["name"], by_prompt["title"]) == ("", "an owl at night")
    assert sent["title"] == "owls.txt"
    assert farm.submit(["a red barn"], parent=named.id).record.title == "again: a red barn", "lists show both"
    found = http.get("/v1/batches?q=OWLS").json()["batches"]
    assert [batch["id"] for batch in found] == [sent["id"]], "lists look in titles"
    assert "an owl at night" in http.get(f"/batches/{by_prompt['id']}", headers=HTML).text


def test_lists_show_the_first_three_pictures(http: httpx2.Client, farm: Farm, hand: FarmHand):
    drawn, waits = farm.submit(["fail a", "b", "c", "d", "e"]), farm.submit(["a"])
    farm.store.pause_batch(waits.id)
    hand.work_all()

    page = http.get("/batches", headers=HTML).text

    rows = [row for row in range(5) if f'src="/jobs/{drawn.id}-{row:06d}/thumb"' in page]
    assert rows == [1, 2, 3]
    assert f'src="/jobs/{waits.id}' not in page
    assert f'src="/jobs/{drawn.id}-000001/thumb"' in http.get("/", headers=HTML).text
    assert farm.store.first_pictures([drawn.id, waits.id], num=1) == {drawn.id: [f"{drawn.id}-000001"]}
    assert http.get(f"/jobs/{drawn.id}-000001/thumb").status_code == 200
