"""The one command that a fresh S3 server needs before a farm can start on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sigmafarm_common.config import Config
from sigmafarm_common.errors import InvalidSettings
from sigmafarm_common.objects import open_objects
from sigmafarm_common.objects.bucket import main, make_bucket
from tests.common.s3_servers import KEY_ID, SECRET, moto_server
from tests.ports import free_port


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A fresh S3 server, named by the environment."""
    pytest.importorskip("moto.server")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    with moto_server() as url:
        monkeypatch.setenv("SIGMAFARM_S3_ENDPOINT_URL", url)
        monkeypatch.setenv("SIGMAFARM_OBJECTS_URL", "s3://made-here/farm")
        yield url


def test_bucket_is_made_once_and_found_the_next_time(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert (main(), main()) == (0, 0)

    assert capsys.readouterr().out.splitlines() == ["bucket made-here is made", "bucket made-here is there"]
    open_objects(Config()).check()


def test_bucket_is_made_in_the_region_that_is_asked_for(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("SIGMAFARM_OBJECTS_URL", "s3://far-away")

    assert make_bucket(Config()) == "bucket far-away is made"


def test_folder_is_no_bucket(tmp_path: object) -> None:
    with pytest.raises(InvalidSettings, match="no bucket: set it to s3://"):
        make_bucket(Config(objects_url=str(tmp_path)))


def test_server_that_is_away_ends_with_a_sentence_and_exit_code_3(
    server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SIGMAFARM_S3_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")

    assert main() == 3

    assert "does not answer" in capsys.readouterr().err
