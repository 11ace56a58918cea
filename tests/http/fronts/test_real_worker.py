"""Both fronts before a real worker that draws with the bundled model: one seed, one picture, live previews."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
import redis
import webuiapi
from PIL import Image, ImageChops

from sigmafarm.http.server import HttpServer
from tests.farm_harness import FarmHarness
from tests.limits import LIMIT_S

pytestmark = pytest.mark.slow
PROMPT, SEED, STEPS = "a red square on a white background", 3, 12


@pytest.fixture
def server(redis_client: redis.Redis, redis_url: str, tmp_path: Path) -> Iterator[HttpServer]:
    """A server beside a supervisor with one worker, whose keeper dispatches for both."""
    settings = {"device": "cpu", "max_images": 2, "drain_s": 1}  # nobody waits for its last job
    farm = FarmHarness(tmp_path, redis_url=redis_url, **settings)
    farm.start_worker()
    try:
        with HttpServer(farm.config.replaced(http_port=0), has_keeper=False) as server:
            farm.wait_for_workers(1)
            yield server
    finally:
        farm.close()


def picture(b64_json: str | None) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(b64_json or "")))


@pytest.fixture
def client(server: HttpServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", timeout=LIMIT_S) as client:
        yield client


def test_both_fronts_give_the_picture_of_a_seed_and_the_stream_shows_it_grow(server: HttpServer, client: openai.OpenAI):
    api = webuiapi.WebUIApi(port=server.port, sampler="LMS")
    assert [model.id for model in client.models.list()] == api.util_get_model_names()

    answer = client.images.generate(prompt=PROMPT, extra_body={"steps": STEPS, "seed": SEED, "guidance_scale": 5})
    result = api.txt2img(prompt=PROMPT, steps=STEPS, seed=SEED, cfg_scale=5, width=128, height=128)
    (whole,) = client.images.generate(
        prompt=PROMPT, stream=True, size="128x128", extra_body={"steps": STEPS, "seed": SEED}
    )
    growing = client.images.generate(
        prompt=PROMPT, stream=True, partial_images=3, size="128x128", extra_body={"steps": 1000, "seed": SEED}
    )
    partial = next(growing)  # a look a second: a thousand steps take many
    growing.close()  # and nobody waits for them

    assert answer.data is not None
    assert ImageChops.difference(picture(answer.data[0].b64_json), result.image).getbbox() is None
    red, green, blue = result.image.convert("RGB").resize((8, 8)).getpixel((4, 4))
    assert red > 150 > max(green, blue)
    assert result.info["infotexts"] == [result.image.text["parameters"]]
    assert [event.type for event in (partial, whole)] == [
        "image_generation.partial_image",
        "image_generation.completed",
    ]
    assert {picture(event.b64_json).size for event in (partial, whole)} == {(128, 128)}
