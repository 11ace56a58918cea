"""Pictures to draw on, from OpenAI's own client and from webuiapi: stored, under their masks, and drawn on as the users
of each front know it."""

from __future__ import annotations

import base64
import io
from typing import Any

import httpx2
import numpy as np
import openai
import pytest
import webuiapi
from PIL import Image

from sigmafarm import Farm, Job
from sigmafarm.http.server import HttpServer

pytestmark = pytest.mark.usefixtures("drawer")
IMG2IMG, EDITS = "/sdapi/v1/img2img", "/v1/images/edits"


def shade(width: int = 96, height: int = 64) -> Image.Image:
    return Image.linear_gradient("L").resize((width, height)).convert("RGB")


def png_of(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def stored(farm: Farm, name: str | None) -> Image.Image:
    """Return a picture that a job draws on, as it is stored."""
    assert name is not None
    upload = farm.store.upload(farm.config.owner, name.removeprefix("sha256:"))
    return Image.open(io.BytesIO(farm.objects.get(upload.key)))


def jobs(farm: Farm) -> list[Job]:
    return list(farm.batch(farm.batches()[0].id).jobs())


@pytest.fixture
def api(server: HttpServer) -> webuiapi.WebUIApi:
    return webuiapi.WebUIApi(host="127.0.0.1", port=server.port)


def test_openais_edit_draws_on_a_picture_where_its_mask_is_transparent(client: openai.OpenAI, farm: Farm):
    mask = Image.new("RGBA", (96, 64), "black")
    mask.paste((0, 0, 0, 0), (0, 0, 48, 64))

    answer = client.images.edit(
        image=("a.png", png_of(shade()), "image/png"),
        mask=("m.png", png_of(mask), "image/png"),
        prompt="a boat",
        n=2,
        extra_body={"strength": 0.5, "steps": 9, "seed": 3},
    )

    assert [image.model_extra for image in answer.data or []] == [{"seed": 3}, {"seed": 4}]
    for job in jobs(farm):
        assert (job.request.strength, job.request.num_inference_steps, job.num_steps) == (0.5, 9, 4)
        assert (job.request.width, job.request.height) == (80, 64)
        assert np.array_equal(stored(farm, job.request.init_image), shade())
        assert stored(farm, job.request.mask_image).mode == "RGBA"


def test_openais_edit_draws_on_each_of_several_pictures(client: openai.OpenAI, farm: Farm):
    pictures = [("a.png", png_of(shade()), "image/png"), ("b.png", png_of(shade(64, 64)), "image/png")]

    answer = client.images.edit(image=pictures, prompt="a boat", size="64x64")

    assert len(answer.data or []) == 2
    assert [stored(farm, job.request.init_image).size for job in jobs(farm)] == [(96, 64), (64, 64)]


def test_openais_edit_as_a_stream_says_its_own_events(client: openai.OpenAI):
    stream = client.images.edit(image=("a.png", png_of(shade()), "image/png"), prompt="a boat", stream=True)

    assert [event.type for event in stream] == ["image_edit.completed"]


def test_openais_edit_takes_data_urls_in_json(http: httpx2.Client, farm: Farm):
    url = "data:image/png;base64," + base64.b64encode(png_of(shade())).decode()

    answer = http.post(EDITS, json={"prompt": "a boat", "images": [{"image_url": url}]})

    assert answer.status_code == 200
    assert np.array_equal(stored(farm, jobs(farm)[0].request.init_image), shade())


@pytest.mark.parametrize(
    ("files", "said", "words"),
    [
        ([], {"prompt": "a"}, "image is missing"),
        ([("image", b"GIF89a" + bytes(40))], {"prompt": "a"}, "PNG, JPEG or WEBP"),
        ([("image", png_of(shade())[:-40])], {"prompt": "a"}, "cut off"),
        ([("image", png_of(shade()))], {}, "prompt"),
        ([("image", png_of(shade()))], {"prompt": "a", "strength": "1.5"}, "must be at most 1"),
        ([("image", png_of(shade())), ("mask", png_of(shade(64, 64)))], {"prompt": "a"}, "mask"),
        ([("image", png_of(shade()))] * 17, {"prompt": "a"}, "at most 16"),
        ([("image", png_of(shade()))] * 4, {"prompt": "a", "n": "9"}, "n times the pictures is 36: at most 32"),
    ],
)
def test_openais_edits_that_cannot_be_drawn_are_refused_with_the_reason(
    http: httpx2.Client, farm: Farm, files: list[tuple[str, bytes]], said: dict[str, str], words: str
):
    sent: Any = [(name, ("a.png", data)) for name, data in files] or {"nothing": ("a", b"")}

    answer = http.post(EDITS, files=sent, data=said)

    assert answer.status_code == 400, answer.text
    assert words in answer.json()["error"]["message"]
    assert farm.batches() == []


def test_nothing_is_fetched_for_an_edit(http: httpx2.Client):
    answer = http.post(EDITS, json={"prompt": "a", "images": [{"image_url": "http://127.0.0.1:1/a.png"}]})

    assert answer.status_code == 400
    assert "nothing is fetched" in answer.json()["error"]["message"]


def test_automatic1111s_picture_is_drawn_on_with_its_strength(api: webuiapi.WebUIApi, farm: Farm):
    result = api.img2img(
        images=[shade()], prompt="a boat", steps=10, seed=4, denoising_strength=0.3, width=64, height=64, batch_size=2
    )

    assert [image.size for image in result.images] == [(64, 64)] * 2
    assert result.info["denoising_strength"] == 0.3
    assert "Denoising strength: 0.3" in result.info["infotexts"][0]
    for job in jobs(farm):
        assert (job.request.strength, job.num_steps, job.request.mask_image) == (0.3, 3, None)
        # Resize mode 0: the whole picture, its shape given up.
        assert np.array_equal(stored(farm, job.request.init_image), shade().resize((64, 64), Image.Resampling.LANCZOS))


def test_automatic1111s_mask_comes_with_its_settings(api: webuiapi.WebUIApi, farm: Farm):
    mask = Image.new("L", (64, 64))
    mask.paste(255, (16, 16, 48, 48))

    api.img2img(
        images=[shade(64, 64)],
        mask_image=mask,
        prompt="a boat",
        width=64,
        height=64,
        mask_blur=2,
        inpainting_fill=1,
        inpaint_full_res=True,
        inpaint_full_res_padding=8,
        inpainting_mask_invert=1,
    )

    (job,) = jobs(farm)
    said = job.request
    assert (said.mask_blur, said.inpainting_fill) == (2, "original")
    assert (said.masked_area_only, said.masked_padding) == (True, 8)
    assert said.mask_invert is True
    assert np.array_equal(stored(farm, said.mask_image).convert("L"), mask)


@pytest.mark.parametrize(("mode", "edge"), [(1, None), (2, 0)])
def test_automatic1111s_ways_to_resize(http: httpx2.Client, farm: Farm, mode: int, edge: int | None):
    said = {"init_images": [base64.b64encode(png_of(shade(64, 128))).decode()], "resize_mode": mode}

    assert http.post(IMG2IMG, json={**said, "prompt": "a", "width": 128, "height": 128}).status_code == 200

    image = stored(farm, jobs(farm)[0].request.init_image)
    if edge is None:
        assert image.size == (64, 128)  # the farm's own way: cropped by the worker
    else:
        assert image.size == (128, 128)
        pixels = np.asarray(image)
        assert np.array_equal(pixels[:, 0], pixels[:, 40])
        assert abs(int(pixels[0, 0, 0]) - edge) <= 2


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({}, "init_images"),
        ({"init_images": []}, "init_images"),
        ({"init_images": ["a"] * 5, "n_iter": 7}, "n_iter x init_images is 35: at most 32"),
        ({"init_images": ["no base 64!"]}, "init_images is no picture in base 64"),
        ({"init_images": [base64.b64encode(b"text").decode()]}, "init_images: "),
        ({"init_images": [base64.b64encode(png_of(shade())).decode()], "denoising_strength": 1.5}, "strength is 1.5"),
        ({"init_images": [base64.b64encode(png_of(shade())).decode()], "resize_mode": 9}, "resize_mode"),
    ],
)
def test_automatic1111s_pictures_that_cannot_be_drawn_on_are_refused_with_the_reason(
    http: httpx2.Client, farm: Farm, said: dict[str, Any], words: str
):
    answer = http.post(IMG2IMG, json={"prompt": "a", **said})

    assert answer.status_code == 422
    assert words in answer.json()["detail"]
    assert farm.batches() == []
