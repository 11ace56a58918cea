"""What a request of AUTOMATIC1111's leaves to the options, and what it asks for that is not done."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
import webuiapi

from sigmafarm import Config, Farm
from sigmafarm.http.fronts.a1111.choices import CHOICES_FILE
from sigmafarm.http.server import HttpServer
from tests.http.conftest import add_key

TXT2IMG, OPTIONS = "/sdapi/v1/txt2img", "/sdapi/v1/options"

pytestmark = pytest.mark.usefixtures("drawer")


def drawn(farm: Farm) -> Any:
    return farm.job(f"{farm.batches()[0].id}-000000").request


def notes(http: httpx2.Client, **said: object) -> str:
    answer = http.post(TXT2IMG, json={"prompt": "a boat", **said})
    assert answer.status_code == 200, answer.text
    return json.loads(answer.json()["info"])["extra_generation_params"].get("Notes", "")


def test_options_are_kept_for_requests_that_say_nothing_of_them(server: HttpServer, farm: Farm):
    api = webuiapi.WebUIApi(host="127.0.0.1", port=server.port)

    api.set_options({"samples_format": "JPG", "jpeg_quality": 40, "CLIP_stop_at_last_layers": 2, "no_such": 1})
    api.txt2img(prompt="a boat", width=64, height=64)

    request = drawn(farm)
    assert (request.output_format, request.output_quality, request.clip_skip) == ("jpeg", 40, 2)
    said = api.get_options()
    assert (said["samples_format"], said["jpeg_quality"], said["CLIP_stop_at_last_layers"]) == ("jpg", 40, 2)
    api.txt2img(prompt="a boat", width=64, height=64, override_settings={"samples_format": "webp"})
    assert (drawn(farm).output_format, drawn(farm).clip_skip) == ("webp", 2)
    api.set_options({"samples_format": "png"})
    api.txt2img(prompt="a boat", width=64, height=64)
    assert (drawn(farm).output_format, drawn(farm).clip_skip) == ("png", 2)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"samples_format": "avif"}, "samples_format is 'avif': must be one of png, jpg, jpeg, webp"),
        ({"samples_format": 3}, "samples_format is 3: must be one of"),
        ({"CLIP_stop_at_last_layers": 99}, "clip_skip"),
        ({"jpeg_quality": 101}, "output_quality"),
        ({"sd_model_checkpoint": ["tiny"]}, "must be a text"),
    ],
)
def test_an_option_that_cannot_be_is_refused_and_none_is_kept(http: httpx2.Client, said: dict[str, Any], words: str):
    answer = http.post(OPTIONS, json={"jpeg_quality": 50, **said})

    assert answer.status_code == 422
    assert words in answer.text
    assert "jpeg_quality" not in http.get(OPTIONS).json()


def test_each_key_has_options_of_its_own(config: Config, farm: Farm):
    _, ann = add_key(farm, "ann")
    _, ben = add_key(farm, "ben")
    with HttpServer(config, has_keeper=False) as server, httpx2.Client(base_url=server.url) as http:
        http.post(OPTIONS, json={"samples_format": "webp"}, headers=ann)

        assert http.get(OPTIONS, headers=ann).json()["samples_format"] == "webp"
        assert http.get(OPTIONS, headers=ben).json()["samples_format"] == "png"


@pytest.mark.parametrize("text", ["", "[]", '{"a/b": "tiny"}', "\0", "{"])
def test_a_file_of_options_that_is_spoiled_is_none(http: httpx2.Client, config: Config, text: str):
    (config.data_dir / CHOICES_FILE).write_text(text)

    assert http.get(OPTIONS).json()["samples_format"] == "png"
    assert http.post(OPTIONS, json={"samples_format": "webp"}).status_code == 200
    assert http.get(OPTIONS).json()["samples_format"] == "webp"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"enable_hr": True}, "high resolution"),
        ({"restore_faces": True}, "faces"),
        ({"tiling": True}, "tiling"),
        ({"styles": ["anime"]}, "styles"),
        ({"subseed_strength": 0.3}, "variation seeds"),
        ({"seed_resize_from_w": 512, "seed_resize_from_h": 512}, "another size"),
        ({"refiner_checkpoint": "xl", "refiner_switch_at": 0.8}, "the refiner (refiner_checkpoint 'xl') is not here"),
        ({"alwayson_scripts": {"ControlNet": {"args": [{"enabled": True}]}, "Empty": {"args": []}}}, "ControlNet left"),
        ({"prompt": "a boat <lora:more_detail:0.8>"}, "<lora:more_detail:0.8> is read as words"),
        ({"negative_prompt": "<HYPERNET:x:1>"}, "<HYPERNET:x:1> is read as words"),
        ({"override_settings": {"sd_vae": "vae-ft-mse.safetensors"}}, "another VAE (sd_vae 'vae-ft-mse"),
        ({"override_settings": {"eta_noise_seed_delta": 31337}}, "a shift of the noise's seed"),
        ({"override_settings": {"samples_format": "avif"}}, "samples_format 'avif' is not here"),
        ({"s_churn": 5, "s_noise": 1.1}, "s_churn 5"),
        ({"eta": 0.5}, "an eta of the request"),
    ],
)
def test_what_is_left_out_is_told(http: httpx2.Client, said: dict[str, Any], words: str):
    assert words in notes(http, **said)


def test_what_is_switched_off_is_not_spoken_of(http: httpx2.Client):
    """What clients send with every request: webuiapi's own defaults, and those of A1111's page."""
    off = {
        "enable_hr": False,
        "hr_scale": 2,
        "hr_upscaler": "Latent",
        "styles": [],
        "subseed": -1,
        "subseed_strength": 0,
        "seed_resize_from_h": 0,
        "seed_resize_from_w": -1,
        "restore_faces": False,
        "tiling": False,
        "do_not_save_samples": False,
        "eta": 1.0,
        "s_churn": 0,
        "s_tmax": 0,
        "s_tmin": 0,
        "s_noise": 1,
        "s_min_uncond": 0,
        "refiner_checkpoint": "None",
        "refiner_switch_at": 0,
        "alwayson_scripts": {"ADetailer": {"args": []}},
        "override_settings": {"sd_vae": "Automatic", "samples_format": "png", "eta_noise_seed_delta": 0},
        "override_settings_restore_afterwards": True,
        "comments": {},
    }

    assert notes(http, **off) == ""


@pytest.mark.parametrize("odd", [[], {}, 3, "x", [[1]], {"a": {"b": 1}}, {"a": 1}, None, 1e300, "<lora:" * 9])
def test_whatever_stands_in_those_fields_is_answered(http: httpx2.Client, odd: Any):
    for name in ("alwayson_scripts", "styles", "refiner_checkpoint", "negative_prompt", "s_noise"):
        assert http.post(TXT2IMG, json={"prompt": "a", name: odd}).status_code in (200, 422)
