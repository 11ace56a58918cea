"""Pictures to draw from in the dashboard: chosen in the form, kept when it does not fit, shown on the job's page."""

from __future__ import annotations

import io
import re

import httpx2
from PIL import Image

from sigmafarm import Farm
from sigmafarm.http.server import HttpServer
from tests.common.test_uploads import file_of
from tests.farm_hand import FarmHand
from tests.http.conftest import add_key
from tests.http.dashboard.test_pages import HTML, token_of
from tests.limits import LIMIT_S

PICTURE, MASK = Image.new("RGB", (64, 64), (200, 0, 0)), Image.new("RGB", (64, 64), "white")


def send(http: httpx2.Client, **said: object) -> httpx2.Response:
    files = {name: ("a.png", data) for name, data in said.items() if isinstance(data, bytes)}
    texts = {name: text for name, text in said.items() if isinstance(text, str)}
    data = {"csrf_token": token_of(http, "/submit"), "prompts": "a boat", **texts}
    return http.post("/submit", data=data, files=files, headers=HTML)  # type: ignore[arg-type]


def test_form_takes_files_and_the_jobs_page_shows_them(http: httpx2.Client, farm: Farm, hand: FarmHand):
    sent = send(http, init_image_file=file_of(PICTURE), mask_image_file=file_of(MASK), fit="strict")

    assert sent.status_code == 303, sent.text
    (batch,) = farm.batches()
    job = farm.job(f"{batch.id}-000000")
    assert (job.request.init_image, job.request.mask_image) == (farm.upload(PICTURE), farm.upload(MASK))
    page = http.get(f"/jobs/{job.id}", headers=HTML).text
    shown = re.findall(r'<img src="(/jobs/[^"]+/pictures/[a-z_]+)" alt="([^"]+)"', page)
    assert [label for _, label in shown] == ["Init image", "Mask"]
    small = http.get(shown[0][0])
    assert Image.open(io.BytesIO(small.content)).convert("RGB").getpixel((5, 5)) == (200, 0, 0)
    assert http.get(shown[0][0], headers={"If-None-Match": small.headers["etag"]}).status_code == 304
    assert http.get(f"/jobs/{job.id}/pictures/prompt").status_code == 404
    again = http.get("/submit", params={"job": job.id}, headers=HTML).text
    assert re.search(rf'<input id="init_image"[^>]* value="{job.request.init_image}"', again)


def test_what_is_wrong_stands_beside_its_field_and_good_pictures_are_not_chosen_again(
    http: httpx2.Client, farm: Farm, hand: FarmHand
):
    bad = send(http, init_image_file=file_of(PICTURE), mask_image_file=b"text", width="515")
    named = send(http, init_image="job:0123456789abcde-000000")

    assert (bad.status_code, named.status_code, farm.batches()) == (422, 422, [])
    assert 'id="mask_image-problem" dir="auto">The file is no PNG, JPEG or WEBP' in bad.text
    assert 'id="width-problem"' in bad.text
    assert f'value="{farm.upload(PICTURE)}"' in bad.text
    assert re.search(r'id="init_image-problem" dir="auto">Init image is .*there is no such job', named.text)


def test_form_without_its_token_stores_no_picture(http: httpx2.Client, farm: Farm):
    files = {"init_image_file": ("a.png", file_of(PICTURE))}

    answer = http.post("/submit", data={"csrf_token": "00", "prompts": "a"}, files=files, headers=HTML)

    assert (answer.status_code, list(farm.objects.list())) == (403, [])


def test_pictures_of_anothers_job_do_not_exist(server: HttpServer, farm: Farm, hand: FarmHand):
    _, ben = add_key(farm, "ben")
    batch = farm.submit("a", init_image=PICTURE)

    with httpx2.Client(base_url=server.url, timeout=LIMIT_S, headers=ben) as http:
        assert http.get(f"/jobs/{batch.id}-000000/pictures/init_image").status_code == 404
