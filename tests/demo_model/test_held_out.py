"""The sample that the range of the bundled model is held against: drawn by its seed alone, counted by its labels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from demo_model import held_out


def test_a_sample_is_told_by_its_seed_and_shares_noise_in_threes() -> None:
    said = list(held_out.settings(3, 60))

    assert said == list(held_out.settings(3, 60))
    assert said != list(held_out.settings(4, 60))
    assert all(3 <= each["num_inference_steps"] <= 50 and 0 <= each["guidance_scale"] <= 20 for each in said)
    assert {(each["case"], each["seed"]) for each in said} == {(n, 300_000 + n) for n in range(20)}
    assert {each.get("lms_order") for each in said} == {None, 1, 2, 3, 4}


def test_labels_are_written_and_the_flagged_ones_counted(tmp_path: Path) -> None:
    file = tmp_path / "pictures.jsonl"
    drifts = {"lms": 0.2, "euler": 2.0, "heun": 0.3, "dpm2": 3.0}
    lines = [{"sampler": name, "rms": 1.0, "peak": 4.0, "drift": drift} for name, drift in drifts.items()]
    file.write_text("".join(json.dumps(each) + "\n" for each in lines))

    held_out.judge(file, "1b 2b\n3u")

    lines = held_out.read(file)
    assert [each["label"] for each in lines] == ["g", "b", "b", "u"]
    assert list(held_out.figures(lines))[:3] == [
        "good: 0 of 1 flagged (0.0 %); LMS 0 of 1, others 0 of 0",
        "broken: 1 of 2 flagged (50.0 %); LMS 0 of 0, others 1 of 2",
        "neither: 1 of 1 flagged (100.0 %); LMS 0 of 0, others 1 of 1",
    ]
    with pytest.raises(SystemExit, match="labels 9b, 1x: must be a number below 4 and one of g, b"):
        held_out.judge(file, "9b 1x")
