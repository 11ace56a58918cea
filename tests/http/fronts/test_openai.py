"""OpenAI's own client in front of the farm: pictures in both forms, models, errors by class."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator

import httpx2
import openai
import pytest
from PIL import Image

from sigmafarm import Config, Farm
from sigmafarm.http.server import HttpServer
from sigmafarm_common.keys import Scope
from sigmafarm_common.objects.folder import FolderStore
from sigmafarm_common.records import ModelCard
from tests.http.conftest import add_key
from tests.limits import LIMIT_S

pytestmark = pytest.mark.usefixtures("drawer")


def png(b64_json: str | None) -> Image.Image:
    assert b64_json is not None
    return Image.open(io.BytesIO(base64.b64decode(b64_json)))


def test_a_picture_in_base_64_is_the_one_that_was_drawn(client: openai.OpenAI, farm: Farm):
    answer = client.images.generate(prompt="a boat", model="tiny", size="128x64", response_format="b64_json")

    (image,) = answer.data or []
    assert png(image.b64_json).size == (128, 64)
    assert image.url is None
    assert (answer.size, answer.output_format, answer.background) == ("128x64", "png", "opaque")
    (batch,) = farm.batches()
    assert batch.name.startswith("openai ")
    assert batch.priority == 50


def test_a_link_opens_without_a_key_and_only_as_it_is_signed(client: openai.OpenAI, http: httpx2.Client):
    answer = client.images.generate(prompt="a boat", response_format="url")

    (image,) = answer.data or []
    assert image.b64_json is None
    assert image.url is not None
    fetched = httpx2.get(image.url)
    assert (fetched.status_code, fetched.headers["content-type"]) == (200, "image/png")
    assert Image.open(io.BytesIO(fetched.content)).size == (64, 64)
    for spoiled in (image.url[:-1] + ("0" if image.url[-1] != "0" else "1"), image.url.replace("until=1", "until=2")):
        refused = http.get(spoiled)
        assert refused.status_code == 404
        assert refused.json()["error"]["code"] == "not_found"


@pytest.mark.parametrize("image_links", [True, False])
def test_a_link_leads_into_the_bucket_unless_clients_cannot_reach_it(
    config: Config, image_links: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(FolderStore, "url", lambda self, key, _s: f"https://bucket/{key}")
    with (
        HttpServer(config.replaced(image_links=image_links), has_keeper=False) as server,
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", timeout=LIMIT_S) as client,
    ):
        (image,) = client.images.generate(prompt="a boat", response_format="url").data or []
        own = server.url

    assert str(image.url).startswith("https://bucket/" if image_links else own)


def test_where_no_form_is_asked_both_are_answered_for_every_picture(client: openai.OpenAI):
    answer = client.images.generate(prompt="a boat", n=2, size="auto", extra_body={"seed": 7})

    assert answer.data is not None
    assert all(image.b64_json and image.url for image in answer.data)
    assert [image.model_extra for image in answer.data] == [{"seed": 7}, {"seed": 8}]


def test_settings_of_the_farm_stand_at_the_top_and_what_it_has_no_use_for_is_left_aside(
    client: openai.OpenAI, farm: Farm
):
    client.images.generate(
        prompt="a boat",
        quality="hd",
        style="vivid",
        background="transparent",
        moderation="low",
        user="ann",
        output_format="webp",
        output_compression=40,
        extra_body={"steps": 9, "guidance_scale": 3.5, "negative_prompt": "fog", "seed": 4, "karras_sigmas": True},
    )

    (batch,) = farm.batches()
    request = farm.job(f"{batch.id}-000000").request
    assert (request.num_inference_steps, request.guidance_scale, request.seed) == (9, 3.5, 4)
    assert (request.negative_prompt, request.output_format, request.karras_sigmas) == ("fog", "webp", True)
    assert request.output_quality == 40


def test_two_equal_requests_without_a_seed_are_two_pictures(client: openai.OpenAI, farm: Farm):
    for _ in range(2):
        client.images.generate(prompt="a boat", response_format="url")

    first, second = (farm.job(f"{batch.id}-000000").request.seed for batch in farm.batches())
    assert first != second


def test_models_are_listed_in_both_forms_at_one_address(client: openai.OpenAI, http: httpx2.Client):
    (model,) = client.models.list().data

    assert (model.id, model.object, model.owned_by) == ("tiny", "model", "sigmafarm")
    assert http.get("/v1/models").json()["models"][0]["defaults"] == {"height": 64, "width": 64}
    assert client.models.retrieve("tiny").id == "tiny"
    with pytest.raises(openai.NotFoundError, match="this farm knows tiny"):
        client.models.retrieve("gpt-image-2")


def test_a_model_that_is_not_served_is_not_found(client: openai.OpenAI):
    with pytest.raises(openai.NotFoundError, match="'dall-e-3': this farm knows tiny") as caught:
        client.images.generate(prompt="a boat", model="dall-e-3")

    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


@pytest.mark.parametrize(
    ("said", "param", "words"),
    [
        ({"size": "515x64"}, "width", "nearest 512 or 520"),
        ({"size": "large"}, "size", "WIDTHxHEIGHT"),
        ({"n": 11}, "n", "at most 10"),
        ({"response_format": "gif"}, "response_format", "url"),
        ({"prompt": ["a"]}, "prompt", "a text"),
        ({"seed": "many"}, "seed", "a whole number"),
        ({"steps": 0}, "num_inference_steps", "at least 1"),
        ({"partial_images": 9}, "partial_images", "at most 3"),
        ({"model": "no/such"}, "model", "letters"),
    ],
)
def test_a_bad_field_is_named_with_its_cure(client: openai.OpenAI, said: dict[str, object], param: str, words: str):
    with pytest.raises(openai.BadRequestError) as caught:
        client.images.generate(prompt="a boat", extra_body=said)

    assert (caught.value.type, caught.value.param) == ("invalid_request_error", param)
    assert words in str(caught.value)
    assert caught.value.response.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"prompt": NaN}',
        b"\xff\xfe\x00",
        b'{"prompt": "a", "n": 1e999}',
        b'{"prompt": "a", "seed": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b'{"prompt": "\\ud800"}',
        b'{"prompt": "a", "steps": {"a": 1}}',
        b'{"prompt": "' + b"a" * 20_000 + b'"}',
    ],
)
def test_whatever_is_sent_the_answer_is_an_error_of_the_clients_form(http: httpx2.Client, body: bytes):
    answer = http.post("/v1/images/generations", content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == 400
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_a_prompt_with_a_null_character_is_drawn(client: openai.OpenAI):
    assert client.images.generate(prompt="a\0boat", response_format="url").data


def test_a_body_above_the_limit_is_refused_in_the_clients_form(http: httpx2.Client):
    answer = http.post("/v1/images/generations", json={"prompt": "a" * (2 << 20)})

    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")


def test_a_job_that_fails_gives_its_error_and_is_not_tried_again(client: openai.OpenAI, farm: Farm):
    with pytest.raises(openai.InternalServerError, match="could not be drawn: no luck") as caught:
        client.images.generate(prompt="fail")

    assert caught.value.code == "render_failed"
    assert len(farm.batches()) == 1


def test_what_is_not_drawn_in_time_is_cancelled_and_told(config: Config, farm: Farm):
    farm.store.register_models([ModelCard(name="other")])  # which no worker draws
    with (
        HttpServer(config.replaced(draw_wait_s=0.3), has_keeper=False) as server,
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="none") as client,
        pytest.raises(
            openai.InternalServerError, match=r"not drawn within 0.3 s.*workers that draw now: 1.*DRAW_WAIT_S"
        ),
    ):
        client.images.generate(prompt="a boat", model="other")

    (batch,) = farm.batches()
    assert farm.batch(batch.id).wait(timeout_s=LIMIT_S).cancelled == 1


@pytest.fixture
def guarded(config: Config, farm: Farm) -> Iterator[HttpServer]:
    """A server of its own: one that knew of no key would ask for none for another second."""
    with HttpServer(config, has_keeper=False) as server:
        yield server


def test_a_key_is_asked_for_and_its_scope_and_owner_count(guarded: HttpServer, farm: Farm):
    _, ann = add_key(farm, "ann")
    _, reader = add_key(farm, "rob", Scope.READ)

    def client(key: str) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{guarded.url}/v1", api_key=key.removeprefix("Bearer "), timeout=LIMIT_S)

    with pytest.raises(openai.AuthenticationError, match="sigmafarm keys add") as caught:
        client("sk-wrong").images.generate(prompt="a boat")
    assert caught.value.code == "invalid_api_key"
    with pytest.raises(openai.PermissionDeniedError, match="scope submit"):
        client(reader["Authorization"]).images.generate(prompt="a boat")
    answer = client(ann["Authorization"]).images.generate(prompt="a boat")

    assert farm.batches(owner="ann")
    assert answer.data is not None
    assert httpx2.get(answer.data[0].url or "").status_code == 200  # the link needs no key


def test_a_model_is_called_by_another_name_of_it(client: openai.OpenAI, http: httpx2.Client, farm: Farm):
    farm.store.register_models([ModelCard(name="tiny", defaults={"height": 64, "width": 64}, aliases=("dall-e-3",))])

    client.images.generate(prompt="a boat", model="dall-e-3")
    http.post("/sdapi/v1/txt2img", json={"prompt": "a", "override_settings": {"sd_model_checkpoint": "DALL-E-3"}})
    farm.submit("c", defaults={"model": "dall-e-3"})

    jobs = [farm.job(f"{batch.id}-000000") for batch in farm.batches()]
    assert [(job.model, job.request.model) for job in jobs] == [("tiny", "tiny")] * 3
    assert client.models.retrieve("dall-e-3").id == "tiny"


def test_another_name_of_two_models_names_both(client: openai.OpenAI, http: httpx2.Client, farm: Farm):
    """Models files of two workers may disagree: neither is picked in silence."""
    farm.store.register_models([ModelCard(name=name, aliases=("dall-e-3", name + "x")) for name in ("one", "two")])

    with pytest.raises(openai.BadRequestError, match="'dall-e-3' is another name of one and of two: name one"):
        client.images.generate(prompt="a boat", model="dall-e-3")
    said = {"prompt": "a", "override_settings": {"sd_model_checkpoint": "dall-e-3"}}
    assert "another name of one and of two" in http.post("/sdapi/v1/txt2img", json=said).text
    assert client.models.retrieve("twox").id == "two"
