"""sd-backend-client, which checks every answer of AUTOMATIC1111's API against its types, in front of the farm."""

from __future__ import annotations

import httpx2
import pytest
from PIL import Image
from sd_backend_client.api.a1111_webservice import A1111Webservice
from sd_backend_client.api.shared_data.diffusion_params import DiffusionParams

from sigmafarm import Config, Farm
from sigmafarm.http.server import HttpServer
from tests.http.conftest import add_key

pytestmark = pytest.mark.usefixtures("drawer")


@pytest.fixture
def service(server: HttpServer) -> A1111Webservice:
    return A1111Webservice(server.url)


@pytest.fixture
def params() -> DiffusionParams:
    asked = DiffusionParams()
    asked.prompt, asked.steps, asked.width, asked.height = "a boat", 5, 64, 64
    return asked


def test_pictures_of_a_text_and_of_a_picture(service: A1111Webservice, params: DiffusionParams, farm: Farm):
    drawn = service.txt2img(params)
    again = service.img2img(Image.new("RGB", (64, 64), "blue"), None, params)

    assert [image.size for answer in (drawn, again) for image in answer["images"]] == [(64, 64)] * 2
    assert drawn["info"].all_prompts == ["a boat"]
    assert len(farm.batches()) == 2


def test_menus_progress_and_orders(service: A1111Webservice):
    service.login_check()
    assert [model.title for model in service.get_models()] == ["tiny"]
    assert "LMS" in [sampler.name for sampler in service.get_samplers()]
    assert service.progress_check().progress == 0
    assert service.get_config()["sd_model_checkpoint"] == "tiny"
    for ask in (
        service.get_vae,
        service.get_loras,
        service.get_upscalers,
        service.get_latent_upscale_modes,
        service.get_hypernetworks,
        service.get_styles,
        service.get_script_info,
        service.list_loras,
        service.list_vaes,
    ):
        assert ask() == []
    assert service.list_checkpoints()
    assert service.list_samplers()
    assert service.list_schedulers()
    for order in (service.refresh_checkpoints, service.refresh_vae, service.refresh_loras, service.interrupt):
        order()


def test_who_has_no_key_is_told_so_before_anything(config: Config, farm: Farm):
    _, ann = add_key(farm, "ann")
    key = ann["Authorization"].removeprefix("Bearer ")
    with HttpServer(config, has_keeper=False) as server:
        refused = httpx2.get(f"{server.url}/login_check")
        taken = httpx2.get(f"{server.url}/login_check", auth=("ann", key))

    assert (refused.status_code, taken.status_code) == (401, 200)
    assert refused.headers["www-authenticate"].startswith("Basic")
    assert refused.json()["detail"]
