"""Pictures as they are drawn: the client's own stream, with partial images from the workers' previews."""

from __future__ import annotations

import base64
import io

import openai
import pytest
from openai.types import ImageGenCompletedEvent, ImageGenPartialImageEvent
from PIL import Image

from sigmafarm import Farm
from sigmafarm.http.fronts.openai.asked import Asked
from sigmafarm.http.fronts.openai.streaming import Partials
from sigmafarm.http.server import HttpServer
from sigmafarm_common.store.values import Claim, Preview
from tests.farm_hand import Drawer, FarmHand
from tests.limits import until


def size_of(b64_json: str) -> tuple[int, int]:
    return Image.open(io.BytesIO(base64.b64decode(b64_json))).size


def show(farm: Farm, claim: Claim, step: int) -> None:
    """Show a preview as a worker does."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(file, "WEBP")
    farm.store.show([Preview(claim.job_id, claim.fence, step, file.getvalue())])


def test_partial_images_come_from_the_previews_in_the_pictures_size(client: openai.OpenAI, farm: Farm, hand: FarmHand):
    stream = client.images.generate(
        prompt="a boat", size="128x64", stream=True, partial_images=2, extra_body={"steps": 30}
    )
    (claim,) = hand.claim()
    until(farm.store.are_previews_wanted, "somebody looks")

    show(farm, claim, 11)
    partial = next(stream)
    hand._finish(claim)
    whole = next(stream)

    assert list(stream) == []
    assert isinstance(partial, ImageGenPartialImageEvent)
    assert isinstance(whole, ImageGenCompletedEvent)
    assert (partial.partial_image_index, partial.size, size_of(partial.b64_json)) == (0, "128x64", (128, 64))
    assert (whole.size, size_of(whole.b64_json), whole.output_format) == ("128x64", (128, 64), "png")
    assert whole.usage.total_tokens == 0


def test_partial_images_are_spread_over_the_steps_and_none_is_sent_twice(
    server: HttpServer, farm: Farm, hand: FarmHand
):
    batch = farm.submit(["a boat"], defaults={"num_inference_steps": 30})
    (claim,) = hand.claim()
    partials = Partials(server.app.state.site, batch.id, Asked(prompt="a boat", partial_images=2))

    seen: list[int | None] = []
    for step in (9, 10, 25, 25, 30):
        show(farm, claim, step)
        event = partials.new()
        seen.append(event and event["partial_image_index"])

    assert seen == [None, 0, 1, None, None]


def test_without_partial_images_the_whole_ones_alone_come_each_in_an_event(client: openai.OpenAI, hand: FarmHand):
    with Drawer(hand):
        events = list(client.images.generate(prompt="a boat", stream=True, n=2))

    assert [event.type for event in events] == ["image_generation.completed"] * 2


def test_a_request_that_does_not_fit_is_an_error_before_the_stream(client: openai.OpenAI, hand: FarmHand):
    with pytest.raises(openai.BadRequestError, match="nearest 512 or 520"):
        client.images.generate(prompt="a boat", size="515x512", stream=True)


def test_a_job_that_fails_ends_the_stream_with_its_error(client: openai.OpenAI, hand: FarmHand):
    with Drawer(hand), pytest.raises(openai.APIError, match="could not be drawn: no luck") as caught:
        list(client.images.generate(prompt="fail", stream=True))

    assert caught.value.code == "render_failed"
