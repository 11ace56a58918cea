"""webuiapi, the client of AUTOMATIC1111's API, in front of the farm: pictures, menus, options, errors."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx2
import pytest
import webuiapi

from sigmafarm import Config, Farm, ModelCard
from sigmafarm.http.fronts.a1111.samplers import read_sampler
from sigmafarm.http.server import HttpServer
from sigmafarm_common.picture_text import sampler_name
from tests.http.conftest import add_key

pytestmark = pytest.mark.usefixtures("drawer")
TXT2IMG = "/sdapi/v1/txt2img"


@pytest.fixture
def api(server: HttpServer) -> webuiapi.WebUIApi:
    return webuiapi.WebUIApi(host="127.0.0.1", port=server.port)


def test_a_picture_comes_with_its_settings_as_all_tools_read_them(api: webuiapi.WebUIApi, farm: Farm):
    result = api.txt2img(
        prompt="a boat",
        negative_prompt="fog",
        seed=4,
        steps=9,
        cfg_scale=3.5,
        width=128,
        height=64,
        sampler_name="LMS",
        scheduler="Karras",
    )

    (batch,) = farm.batches()
    request = farm.job(f"{batch.id}-000000").request
    assert (batch.name, batch.priority) == ("a1111", 50)
    assert (request.num_inference_steps, request.guidance_scale, request.karras_sigmas) == (9, 3.5, True)
    assert result.image.size == (128, 64)
    assert (result.info["seed"], result.info["all_seeds"], result.info["sampler_name"]) == (4, [4], "LMS Karras")
    assert result.info["infotexts"] == [
        "a boat\nNegative prompt: fog\n"
        "Steps: 9, Sampler: LMS Karras, CFG scale: 3.5, Seed: 4, Size: 128x64, Model: tiny, Prompt syntax: a1111"
    ]
    assert result.parameters["prompt"] == "a boat"


def test_batch_size_times_n_iter_pictures_with_drawn_seeds(api: webuiapi.WebUIApi):
    result = api.txt2img(prompt="a boat", batch_size=2, n_iter=2, width=64, height=64)

    assert len(result.images) == 4
    assert len(set(result.info["all_seeds"])) == 4
    assert result.info["all_prompts"] == ["a boat"] * 4


@pytest.mark.parametrize(
    ("sampler", "scheduler", "drawn", "is_as_asked"),
    [
        ("LMS", "automatic", ("LMS", "lms", False), True),
        ("LMS Karras", "automatic", ("LMS Karras", "lms", True), True),
        ("LMS Karras", "Uniform", ("LMS", "lms", False), True),
        ("k_lms_ka", None, ("LMS Karras", "lms", True), True),
        ("Euler", "Automatic", ("Euler", "euler", False), True),
        ("Euler", "Karras", ("Euler Karras", "euler", True), True),
        ("Euler a", "Automatic", ("Euler a", "euler_a", False), True),
        ("DPM++ 2M Karras", "", ("DPM++ 2M Karras", "dpmpp_2m", True), True),
        ("dpm++ 2m", "karras", ("DPM++ 2M Karras", "dpmpp_2m", True), True),
        ("PLMS", None, ("PLMS", "pndm", False), True),
        ("UniPCMultistepScheduler", "", ("UniPC", "unipc", False), True),
        ("DDIM", "Karras", ("DDIM", "ddim", False), False),
        ("DPM fast", "Automatic", ("LMS", "lms", False), False),
        ("Restart Karras", "", ("LMS Karras", "lms", True), False),
        ("LMS", "SGM Uniform", ("LMS", "lms", False), False),
    ],
)
def test_a_sampler_is_drawn_as_asked_and_one_that_is_not_here_with_lms_which_the_answer_says(
    http: httpx2.Client, farm: Farm, sampler: str, scheduler: str, drawn: tuple[str, str, bool], is_as_asked: bool
):
    said = {"prompt": "a boat", "sampler_name": sampler, "scheduler": scheduler}
    info = json.loads(http.post(TXT2IMG, json=said).json()["info"])

    request = farm.job(f"{farm.batches()[0].id}-000000").request
    assert (info["sampler_name"], request.sampler, request.karras_sigmas) == drawn
    assert ("Notes" not in info["extra_generation_params"]) is is_as_asked


def test_an_automatic_scheduler_is_the_models_own(http: httpx2.Client, farm: Farm):
    farm.store.register_models([ModelCard(name="tiny", defaults={"karras_sigmas": True, "width": 64, "height": 64})])

    said = {"prompt": "a boat", "sampler_name": "LMS", "scheduler": "Automatic"}
    info = json.loads(http.post(TXT2IMG, json=said).json()["info"])

    assert info["sampler_name"] == "LMS Karras"


def test_what_changes_nothing_here_is_told(http: httpx2.Client):
    said = {"prompt": "a boat", "enable_hr": True, "styles": ["anime"], "sampler_name": None, "send_images": False}
    answer = http.post(TXT2IMG, json=said).json()

    assert answer["images"] == []
    assert "high resolution" in json.loads(answer["info"])["extra_generation_params"]["Notes"]


def test_menus_are_filled(api: webuiapi.WebUIApi):
    names = api.util_get_sampler_names()
    assert {"Euler", "Euler a", "LMS", "LMS Karras", "DPM++ 2M Karras", "DDIM", "PLMS", "UniPC", "LCM"} <= set(names)
    assert [sampler_name(read_sampler(name, "automatic").settings) for name in names] == names
    assert api.util_get_scheduler_names() == ["automatic", "karras", "uniform"]
    assert api.util_get_model_names() == ["tiny"]
    assert api.get_scripts() == {"txt2img": [], "img2img": []}
    assert api.get_embeddings() == {"loaded": {}, "skipped": {}}
    for ask in (
        api.get_upscalers,
        api.get_latent_upscale_modes,
        api.get_loras,
        api.get_sd_vae,
        api.get_hypernetworks,
        api.get_face_restorers,
        api.get_realesrgan_models,
        api.get_prompt_styles,
    ):
        assert ask() == []
    assert api.get_cmd_flags() == {}
    assert set(api.get_memory()) == {"ram", "cuda"}
    assert api.refresh_checkpoints() is None


def test_the_checkpoint_that_is_chosen_draws_what_names_none_and_outlives_the_server(
    api: webuiapi.WebUIApi, config: Config, farm: Farm
):
    farm.store.register_models([ModelCard(name="other")])
    assert "forge_preset" not in api.get_options()

    api.set_options({"sd_model_checkpoint": "tiny.safetensors [0a1b2c3d]", "CLIP_stop_at_last_layers": 2})
    api.txt2img(prompt="a boat", width=64, height=64)

    assert api.util_get_current_model() == "tiny"
    assert farm.job(f"{farm.batches()[0].id}-000000").model == "tiny"
    with HttpServer(config, has_keeper=False) as other:
        assert webuiapi.WebUIApi(port=other.port).util_get_current_model() == "tiny"
    api.set_options({**api.get_options(), "sd_model_checkpoint": ""})
    assert api.util_get_current_model() == "tiny"
    api.util_set_model("othe")
    assert api.util_get_current_model() == "other"


def test_the_model_of_a_request_is_named_among_its_settings(api: webuiapi.WebUIApi, farm: Farm):
    farm.store.register_models([ModelCard(name="other")])

    api.txt2img(prompt="a boat", override_settings={"sd_model_checkpoint": "tiny", "samples_format": "jpg"})

    request = farm.job(f"{farm.batches()[0].id}-000000").request
    assert (request.model, request.output_format) == ("tiny", "jpeg")


def test_prompts_are_read_by_automatic1111s_syntax_unless_another_is_named(http: httpx2.Client, farm: Farm):
    for said, wanted in (
        ({}, ("a1111", None)),
        ({"prompt_syntax": "plain"}, ("plain", None)),
        ({"override_settings": {"CLIP_stop_at_last_layers": 2}}, ("a1111", 2)),
    ):
        info = json.loads(http.post(TXT2IMG, json={"prompt": "a (boat:1.2)", **said}).json()["info"])
        request = farm.job(f"{farm.batches()[0].id}-000000").request
        assert (request.prompt_syntax, request.clip_skip) == (wanted[0], wanted[1] or 1)
        assert info["clip_skip"] == (wanted[1] or 1)
        assert ("Clip skip: 2" in info["infotexts"][0]) is (wanted[1] == 2)


def test_a_model_that_is_not_there_is_a_404(http: httpx2.Client):
    for path, said in (
        (TXT2IMG, {"prompt": "a boat", "override_settings": {"sd_model_checkpoint": "none"}}),
        ("/sdapi/v1/options", {"sd_model_checkpoint": "none"}),
    ):
        answer = http.post(path, json=said)
        assert answer.status_code == 404
        assert "this farm knows tiny" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"width": 515}, "nearest 512 or 520"),
        ({"steps": 5000}, "at most 1000"),
        ({"seed": -7}, "seed is -7"),
        ({"batch_size": 8, "n_iter": 8}, "n_iter x batch_size is 64"),
        ({"script_name": "x/y plot"}, "no scripts"),
        ({"prompt": {"a": 1}}, "a text"),
        ({"override_settings": 3}, "override_settings"),
    ],
)
def test_a_bad_field_is_named_with_its_cure(http: httpx2.Client, said: dict[str, object], words: str):
    answer = http.post(TXT2IMG, json={"prompt": "a boat", **said})

    assert answer.status_code == 422
    assert set(answer.json()) == {"error", "detail", "body", "errors"}
    assert words in answer.json()["detail"]


@pytest.mark.parametrize("body", [b"", b"[]", b'{"prompt": NaN}', b"\xff\xfe\x00", b'{"seed": ' + b"9" * 5000 + b"}"])
@pytest.mark.parametrize("path", [TXT2IMG, "/sdapi/v1/options"])
def test_whatever_is_sent_the_answer_is_an_error_of_the_clients_form(http: httpx2.Client, path: str, body: bytes):
    answer = http.post(path, content=body)

    assert answer.status_code == 422
    assert "detail" in answer.json()


def test_a_job_that_fails_gives_its_error(api: webuiapi.WebUIApi):
    with pytest.raises(RuntimeError, match="could not be drawn: no luck") as caught:
        api.txt2img(prompt="fail")

    assert caught.value.args[0] == 500


@pytest.fixture
def guarded(config: Config, farm: Farm) -> Iterator[HttpServer]:
    """A server of its own: one that knew of no key would ask for none for another second."""
    with HttpServer(config, has_keeper=False) as server:
        yield server


def test_what_a_picture_says_is_read(http: httpx2.Client, farm: Farm):
    answer = http.post("/sdapi/v1/txt2img", json={"prompt": "a castle", "negative_prompt": "fog", "steps": 7}).json()

    said = http.post("/sdapi/v1/png-info", json={"image": answer["images"][0]}).json()
    as_url = http.post("/sdapi/v1/png-info", json={"image": "data:image/png;base64," + answer["images"][0]}).json()

    assert said == as_url
    assert said["info"].startswith("a castle\n")
    assert said["items"] == {"parameters": said["info"]}
    assert said["parameters"]["Prompt"].startswith("a castle")
    assert json.loads(answer["info"])["version"].startswith("sigmafarm-v")


@pytest.mark.parametrize("image", ["", "no base 64", "bm8gcGljdHVyZQ=="])
def test_what_is_no_picture_is_refused(http: httpx2.Client, image: str):
    answer = http.post("/sdapi/v1/png-info", json={"image": image})

    assert answer.status_code == 422
    assert answer.json()["detail"]


def test_both_ways_to_say_a_key_are_offered(guarded: HttpServer, farm: Farm):
    add_key(farm, "ann")
    answer = httpx2.get(guarded.url + "/sdapi/v1/sd-models")

    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Basic realm="sigmafarm", Bearer')
    assert httpx2.get(guarded.url + "/v1/models").headers["www-authenticate"] == "Bearer"


def test_a_key_is_the_password_of_basic_authentication(guarded: HttpServer, farm: Farm):
    key_id, header = add_key(farm, "ann")
    key = header["Authorization"].removeprefix("Bearer ")

    with pytest.raises(RuntimeError, match="asks for a key") as caught:
        webuiapi.WebUIApi(port=guarded.port, username="ann", password="guess").txt2img(prompt="a boat")
    assert caught.value.args[0] == 401
    result = webuiapi.WebUIApi(port=guarded.port, username="ann", password=key).txt2img(prompt="a boat")

    assert result.image.size == (512, 512)
    (batch,) = farm.batches(owner="ann")
    assert batch.name == f"a1111 {key_id}"
    with httpx2.Client(base_url=guarded.url, auth=("ann", key)) as browser:
        foreign = browser.post("/sdapi/v1/interrupt", headers={"Origin": "http://evil.example"})
        assert foreign.status_code == 403
    assert httpx2.get(f"{guarded.url}/sdapi/v1/samplers", headers=header).status_code == 200


def test_a_checkpoint_that_no_worker_could_load_is_refused_and_not_the_one_that_is_taken_unasked(
    http: httpx2.Client, farm: Farm
):
    farm.store.register_models([ModelCard(name="bad")])
    broken = {"bad": "its UNet holds no weights", "worse": "no folder"}
    other = farm.workers()[0].model_copy(update={"id": "other", "models": (), "broken": broken})
    farm.store.renew(other, [])

    for name, why in broken.items():
        answer = http.post(TXT2IMG, json={"prompt": "a", "override_settings": {"sd_model_checkpoint": name}})
        assert answer.status_code == 422
        assert f"model '{name}' cannot be loaded: worker other: {why}; mend it, or choose tiny" in answer.text
    assert http.post(TXT2IMG, json={"prompt": "a", "width": 64, "height": 64}).status_code == 200
