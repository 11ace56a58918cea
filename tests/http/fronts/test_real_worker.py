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
    farm = FarmHarness(tmp_path, redis_url=redis_url, device="cpu", max_images=2)
    farm.start_worker()
    try:
        with HttpServer(farm.config.replaced(http_port=0), has_keeper=False) as server:
            farm.wait_for_workers(1)
            yield server
    finally:
        farm.close()


def picture(b64_json: str | None) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(b64_json or "")))


def test_both_fronts_give_the_picture_of_a_seed_and_the_stream_shows_it_grow(server: HttpServer):
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", timeout=LIMIT_S)
    api = webuiapi.WebUIApi(port=server.port, sampler="LMS")
    assert [model.id for model in client.models.list()] == api.util_get_model_names()

    answer = client.images.generate(prompt=PROMPT, extra_body={"steps": STEPS, "seed": SEED, "guidance_scale": 5})
    result = api.txt2img(prompt=PROMPT, steps=STEPS, seed=SEED, cfg_scale=5, width=128, height=128)
    stream = client.images.generate(
        prompt=PROMPT, stream=True, partial_images=1, size="128x128", extra_body={"steps": 600, "seed": SEED}
    )
    *partials, whole = stream

    assert answer.data is not None
    assert ImageChops.difference(picture(answer.data[0].b64_json), result.image).getbbox() is None
    red, green, blue = result.image.convert("RGB").resize((8, 8)).getpixel((4, 4))
    assert red > 150 > max(green, blue)
    assert result.info["infotexts"] == [result.image.text["parameters"]]
    assert [event.type for event in partials] == ["image_generation.partial_image"] * len(partials)
    assert {picture(event.b64_json).size for event in (*partials, whole)} == {(128, 128)}
    assert whole.type == "image_generation.completed"
    assert partials  # a look a second: 600 steps take several
