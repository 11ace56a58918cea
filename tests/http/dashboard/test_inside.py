"""Looking inside a picture on its job's page: what its file says, without torch, and bounded whatever it says."""

from __future__ import annotations

import hashlib
import html
import io
import json

import httpx2
import pytest
from PIL import Image, PngImagePlugin

from sigmafarm import Farm
from sigmafarm.http.dashboard import insides
from sigmafarm.http.dashboard.views.inside import HEIGHT, MAX_POINTS, WIDTH, curve, inside_view
from sigmafarm_common.inside import Inside, ReadPrompt, Token
from sigmafarm_common.settings import RenderRequest
from sigmafarm_common.store.values import Output
from tests.farm_hand import FarmHand

READ = ReadPrompt(
    size=77,
    chunks=((Token(1, "<start>"), Token(5, "<i>boat</i>", 1.21), Token(2, "<end>")),),
    num_cut=2,
    cut="so & so",
)
INSIDE = Inside(sigmas=(14.6146, 2.5, 0.25), timesteps=(999.0, 500.5, 0.0), prompt=READ)
HTML = {"Accept": "text/html"}


def drawn_with(farm: Farm, hand: FarmHand, said: object) -> str:
    """Return the path of what is inside a job whose picture says something."""
    batch = farm.submit(["a boat"])
    (claim,) = hand.claim()
    file, texts = io.BytesIO(), PngImagePlugin.PngInfo()
    texts.add_text("sigmafarm", json.dumps({"prompt": "a boat", "inside": said}))
    Image.new("RGB", (8, 8)).save(file, "PNG", pnginfo=texts)
    data, key = file.getvalue(), f"{batch.id}/000000-f1.png"
    farm.objects.put(key, data, "image/png")
    assert farm.store.finish(claim.job_id, claim.fence, Output(key, hashlib.sha256(data).hexdigest(), len(data)))
    return f"/jobs/{claim.job_id}/inside"


def test_the_schedule_and_the_tokens_of_a_picture_are_shown_as_text(
    http: httpx2.Client, farm: Farm, hand: FarmHand
) -> None:
    answer = http.get(drawn_with(farm, hand, INSIDE.said()), headers=HTML)

    assert '<td class="num">1</td><td class="num">999</td><td class="num">14.61</td>' in answer.text
    assert 'aria-label="Noise level sigma: from 14.61 to 0"' in answer.text
    assert "<i>boat</i>" not in answer.text
    said = html.unescape(answer.text)
    assert '<li class="is-weighed"><bdi><i>boat</i></bdi><small>5 <b title="weight">×1.21</b></small></li>' in said
    assert "3 of 77 places used, the rest is padding" in said
    assert "2 tokens cut, not drawn: </span><del>so & so</del>" in said


@pytest.mark.parametrize("said", [None, {"sigmas": [1], "timesteps": []}, [1, 2], "x" * 10_000])
def test_a_picture_that_does_not_say_is_no_error(http: httpx2.Client, farm: Farm, hand: FarmHand, said: object) -> None:
    answer = http.get(drawn_with(farm, hand, said), headers=HTML)

    assert answer.status_code == 200
    assert "file does not say" in answer.text


def test_before_there_is_a_picture_and_after_it_is_gone_the_page_says_so(
    http: httpx2.Client, farm: Farm, hand: FarmHand
) -> None:
    batch = farm.submit(["fail a", "b"])

    assert "as soon as the picture is drawn" in http.get(f"/jobs/{batch.id}-000000/inside", headers=HTML).text
    hand.work_all()
    assert "no picture to look into" in http.get(f"/jobs/{batch.id}-000000/inside", headers=HTML).text
    farm.objects.delete(farm.job(f"{batch.id}-000001").image_key)
    assert "file is gone" in html.unescape(http.get(f"/jobs/{batch.id}-000001/inside", headers=HTML).text)


def test_a_picture_is_read_once_and_few_are_remembered(
    farm: Farm, hand: FarmHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(insides, "NUM_KEPT", 1)
    reads: list[str] = []
    monkeypatch.setattr(type(farm.objects), "get", lambda _, key: reads.append(key) or b"")
    kept = insides.Insides()

    for key in ("a", "a", "b", "a"):
        assert kept.of(farm.objects, key) is None

    assert reads == ["a", "b", "a"]


def test_steps_are_numbered_from_the_start_step_and_calls_where_a_step_takes_two() -> None:
    started = inside_view(INSIDE, RenderRequest(prompt="a", num_inference_steps=10, start_step=7))
    heun = inside_view(INSIDE, RenderRequest(prompt="a", num_inference_steps=2, sampler="heun", karras_sigmas=True))

    assert [call.number for call in started.calls] == [8, 9, 10]
    assert (started.counted, started.words) == ("step", "LMS, the last 3 of 10 steps: 3 calls of the network")
    assert [call.number for call in heun.calls] == [1, 2, 3]
    assert (heun.counted, heun.words) == ("call", "Heun Karras, 2 steps: 3 calls of the network")


def test_a_curve_spans_its_drawing_and_leaves_out_what_is_not_finite() -> None:
    shown = curve("sigma", [None, 3.0, 1.0])

    assert shown.points == f"{WIDTH / 2:.1f},0.0 {WIDTH}.0,{HEIGHT}.0"
    assert (shown.highest, shown.lowest, shown.words) == ("3", "1", "sigma: from 3 to 1")
    assert curve("sigma", [None]).points == ""
    assert curve("sigma", [2.0]).points == "0.0,0.0"


def test_a_curve_of_a_thousand_steps_is_drawn_with_few_points_and_to_its_end() -> None:
    points = curve("sigma", [float(1000 - n) for n in range(1001)]).points.split()

    assert len(points) <= MAX_POINTS + 1
    assert points[-1] == f"{WIDTH}.0,{HEIGHT}.0"
