"""Pictures to draw from, over HTTP: sent once, each its owner's alone, and batches that begin with them."""

from __future__ import annotations

import io
from collections.abc import Callable

import httpx2
import pytest
from PIL import Image

from sigmafarm import Farm
from sigmafarm.http.server import HttpServer
from sigmafarm_common.config import Config
from sigmafarm_common.keys import Scope
from tests.common.test_uploads import bomb, file_of
from tests.farm_hand import FarmHand
from tests.http.conftest import add_key
from tests.limits import LIMIT_S

PICTURE = Image.new("RGB", (64, 64), (9, 9, 9))


def send(http: httpx2.Client, data: bytes, **options: object) -> httpx2.Response:
    return http.post("/v1/images", files={"file": ("a.png", data, "image/png")}, **options)  # type: ignore[arg-type]


def test_a_picture_is_stored_once_told_of_and_given_back(http: httpx2.Client, farm: Farm):
    new, again = send(http, file_of(PICTURE)), send(http, file_of(PICTURE, "WEBP", lossless=True))

    assert (new.status_code, again.status_code) == (201, 200)
    said = new.json()
    assert again.json() == said == http.get(new.headers["location"]).json()
    assert said.items() >= {"width": 64, "height": 64, "owner": "local", "num_batches": 0, "batches": []}.items()
    file = http.get(f"/v1/images/{said['id']}/file")
    assert Image.open(io.BytesIO(file.content)).tobytes() == PICTURE.tobytes()
    assert (file.headers["content-type"], len(file.content)) == ("image/png", said["size_bytes"])
    same = http.get(f"/v1/images/{said['id']}/file", headers={"If-None-Match": file.headers["etag"]})
    assert same.status_code == 304


@pytest.mark.parametrize(
    ("make", "status", "code", "words"),
    [
        (lambda: b"text", 422, "invalid_picture", "the file is no PNG, JPEG or WEBP"),
        (bomb, 422, "invalid_picture", "20000 x 20000 pixels"),
        (lambda: file_of(PICTURE)[:-30], 422, "invalid_picture", "cut off or damaged"),
        (lambda: bytes((32 << 20) + 1), 413, "too_large", "the picture has 33554433 bytes"),
    ],
    ids=["text", "bomb", "cut", "long"],
)
def test_what_is_no_picture_is_a_problem(
    http: httpx2.Client, make: Callable[[], bytes], status: int, code: str, words: str
):
    answer = send(http, make())

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert words in answer.json()["message"]


def test_bodies_of_other_forms_are_problems(http: httpx2.Client):
    answers = [
        http.post("/v1/images", content=file_of(PICTURE), headers={"Content-Type": "image/png"}),
        http.post("/v1/images", files={"other": ("a.png", b"x")}),
        http.post("/v1/images", content=b"x", headers={"Content-Type": "multipart/form-data; boundary=x"}),
    ]

    assert [(a.status_code, a.json()["code"]) for a in answers] == [
        (415, "unsupported_media_type"),
        (422, "invalid_request"),
        (422, "unreadable_input"),
    ]


def test_pictures_of_others_do_not_exist(server: HttpServer, farm: Farm):
    _, ann = add_key(farm, "ann")
    _, ben = add_key(farm, "ben")
    _, looks = add_key(farm, "ann", Scope.READ)
    with httpx2.Client(base_url=server.url, timeout=LIMIT_S) as http:
        name = send(http, file_of(PICTURE), headers=ann).json()["id"]

        paths = (f"/v1/images/{name}", f"/v1/images/{name}/file", "/v1/images/sha256:0", "/v1/images/x")
        seen = [[http.get(path, headers=who).status_code for path in paths] for who in (ann, ben, looks)]
        refused = [send(http, b"", headers=looks).status_code, send(http, b"").status_code]

    assert seen == [[200, 200, 404, 404], [404] * 4, [200, 200, 404, 404]]
    assert refused == [403, 401]


def test_an_owners_bytes_are_bounded(config: Config, farm: Farm):
    with (
        HttpServer(config.replaced(max_upload_bytes=100), has_keeper=False) as server,
        httpx2.Client(base_url=server.url, timeout=LIMIT_S) as http,
    ):
        answer = send(http, file_of(PICTURE))

    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_requests")
    assert "raise SIGMAFARM_MAX_UPLOAD_BYTES" in answer.json()["message"]
    assert list(farm.objects.list()) == []


def test_batches_begin_with_pictures_and_never_with_files_of_the_server(
    http: httpx2.Client, farm: Farm, hand: FarmHand
):
    name = send(http, file_of(PICTURE)).json()["id"]

    made = http.post("/v1/batches", json={"prompts": ["a"], "defaults": {"init_image": name}})
    row = http.post("/v1/batches", json={"jobs": [{"prompt": "a", "init_image": name, "mask_image": name}]})
    bad = [
        http.post("/v1/batches", json={"jobs": [{"prompt": "a", "init_image": value}]}).json()["message"]
        for value in ("/etc/hostname", "sha256:" + "0" * 64, "job:0123456789abcde-000000", 7)
    ]
    default = http.post("/v1/batches", json={"prompts": ["a"], "defaults": {"init_image": "/etc/hostname"}})

    assert (made.status_code, row.status_code) == (201, 201)
    batch_id = made.json()["batch"]["id"]
    assert http.get(f"/v1/jobs/{batch_id}-000000").json()["request"]["init_image"] == name
    assert batch_id in http.get(f"/v1/images/{name}").json()["batches"]
    assert "init_image is '/etc/hostname': must be sha256:... as POST /v1/images answers" in bad[0]
    assert "there is no such picture (any more); upload it, then submit again" in bad[1]
    assert "there is no such job" in bad[2]
    assert "init_image is 7: must be sha256" in bad[3]
    assert "init_image is '/etc/hostname': must be sha256:... as an upload answers" in default.json()["message"]


def test_a_plan_looks_among_the_callers_own_pictures(server: HttpServer, farm: Farm, hand: FarmHand):
    local = farm.upload(Image.new("RGB", (64, 64), "teal"))  # of the owner that the farm's settings name
    _, ann = add_key(farm, "ann")
    with httpx2.Client(base_url=server.url, timeout=LIMIT_S) as http:
        own = send(http, file_of(PICTURE), headers=ann).json()["id"]
        said = [{"jobs": [{"prompt": "a", "init_image": name}]} for name in (own, local)]
        said += [{"prompts": ["a"], "defaults": {"init_image": name}} for name in (own, local)]

        answers = [http.post("/v1/plan", json=body, headers=ann).status_code for body in said]

    assert answers == [200, 422, 200, 422]
