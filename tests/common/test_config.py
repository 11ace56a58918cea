"""Settings: which source wins, what a bad value says, and that every setting is documented."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest
from pydantic import ValidationError

from sigmafarm_common.config import BROKER_URL_FILE, Config, Source, masked, settings_table, unknown_variables
from sigmafarm_common.errors import InvalidSettings, StoreUnavailable
from sigmafarm_common.place import FolderPlace

README = Path(__file__).parents[2] / "common" / "README.md"


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def source_of(config: Config, name: str) -> Source:
    return next(s.source for s in config.sources() if s.name == name)


def test_flags_beat_the_environment_which_beats_the_file_which_beats_defaults(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    (folder / ".env").write_text("SIGMAFARM_LEASE_S=1\nSIGMAFARM_TICK_S=1\nSIGMAFARM_STALL_S=1\n")
    monkeypatch.setenv("SIGMAFARM_LEASE_S", "2")
    monkeypatch.setenv("SIGMAFARM_TICK_S", "2")

    config = Config.load(lease_s=3)

    assert (config.lease_s, config.tick_s, config.stall_s, config.drain_s) == (3, 2, 1, 30)
    names = ("lease_s", "tick_s", "stall_s", "drain_s")
    assert [source_of(config, n) for n in names] == [
        Source.FLAG,
        Source.ENVIRONMENT,
        Source.ENV_FILE,
        Source.DEFAULT,
    ]


def test_a_flag_that_is_none_and_an_empty_variable_were_not_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SIGMAFARM_OWNER", "")

    config = Config.load(lease_s=None)

    assert (config.lease_s, config.owner) == (15.0, "local")
    assert source_of(config, "lease_s") is Source.DEFAULT


def test_a_config_does_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        Config().lease_s = 3  # pyright: ignore[reportAttributeAccessIssue]


def test_all_bad_values_are_named_together_with_variable_value_and_cure(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SIGMAFARM_LEASE_S", "soon")
    monkeypatch.setenv("SIGMAFARM_REDIS_URL", "http://cache:6379")

    with pytest.raises(InvalidSettings) as caught:
        Config.load(max_images=0)

    said = str(caught.value)
    assert "SIGMAFARM_LEASE_S is 'soon': must be a number" in said
    assert "SIGMAFARM_REDIS_URL is 'http://cache:6379': must begin with redis://" in said
    assert "max_images (flag) is 0: must be at least 1" in said
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("name", "value", "cure"),
    [
        ("objects_url", "gs://bucket", "must be s3://bucket/prefix, file:///folder or a folder's path"),
        ("objects_url", "s3://", "must name a bucket"),
        ("objects_url", "file://folder", "must hold an absolute path"),
        ("redis_url", "redis://", "must name a host"),
        ("redis_url", "unix:socket", "must begin with redis://"),
        ("redis_url", "unix://socket", "must hold an absolute path"),
        ("s3_endpoint_url", "localhost:8333", "must be a URL"),
        ("device", "gpu", "must be auto, cpu, cuda"),
        ("namespace", "a:b", "must be letters, digits"),
        ("log_format", "xml", "must be 'auto', 'console' or 'json'"),
        ("lease_s", "nan", "must be a finite number"),
    ],
)
def test_a_bad_value_says_its_cure(name: str, value: str, cure: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(f"SIGMAFARM_{name.upper()}", value)

    with pytest.raises(InvalidSettings, match=re.escape(cure)) as caught:
        Config.load()

    assert f"SIGMAFARM_{name.upper()} is '{value}'" in str(caught.value)


def test_an_unknown_flag_names_its_neighbour():
    with pytest.raises(InvalidSettings, match="lease is no setting: did you mean lease_s"):
        Config.load(lease=3)


def test_unknown_variables_are_found_with_their_neighbour(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SIGMAFARM_REDIS_URLS", "redis://h")
    (folder / ".env").write_text("SIGMAFARM_LEASE=1\n")

    assert unknown_variables() == [
        "SIGMAFARM_LEASE names no setting: did you mean SIGMAFARM_LEASE_S?",
        "SIGMAFARM_REDIS_URLS names no setting: did you mean SIGMAFARM_REDIS_URL?",
    ]


def test_an_env_file_that_is_no_text_is_named(folder: Path):
    (folder / ".env").write_bytes(b"SIGMAFARM_OWNER=\xff\xfe\n")

    with pytest.raises(InvalidSettings, match=re.escape(".env cannot be read")):
        Config.load()


def test_passwords_never_show(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SIGMAFARM_REDIS_URL", "redis://ann:hush@host:6379/0")
    config = Config()

    shown = f"{config!r} {config} {[s.value for s in config.sources()]}"

    assert "hush" not in shown
    assert "redis://ann:***@host:6379/0" in shown
    assert config.redis_url == "redis://ann:hush@host:6379/0"


def test_a_password_in_a_bad_url_does_not_show_in_the_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SIGMAFARM_REDIS_URL", "http://ann:" + "hush" * 30 + "@host")

    with pytest.raises(InvalidSettings) as caught:
        Config()

    assert "hush" not in str(caught.value)


def test_masking_leaves_urls_without_a_password_alone():
    assert masked("unix:///run/a.sock redis://h:6379/0 s3://b/p") == "unix:///run/a.sock redis://h:6379/0 s3://b/p"
    assert masked("redis://:hush@h") == "redis://:***@h"


def test_without_a_url_the_embedded_farm_of_the_data_folder_is_found(folder: Path):
    url = f"unix://{folder}/redis.sock"
    (folder / BROKER_URL_FILE).write_text(url + "\n")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "redis.sock"))

        config = Config(data_dir=folder)

    assert config.require_redis_url() == url
    assert source_of(config, "redis_url") is Source.EMBEDDED


def test_what_a_killed_farm_left_behind_is_no_farm(folder: Path):
    (folder / BROKER_URL_FILE).write_text(f"unix://{folder}/redis.sock\n")

    assert Config(data_dir=folder).redis_url is None


def test_no_farm_at_all_is_an_error_with_the_cure(folder: Path):
    with pytest.raises(StoreUnavailable, match="sigmafarm up") as caught:
        Config(data_dir=folder).require_redis_url()

    assert caught.value.exit_code == 3


def test_a_process_to_be_started_gets_what_was_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SIGMAFARM_OWNER", "ann")

    monkeypatch.delenv("SIGMAFARM_CPU_NICENESS", raising=False)  # the tests of a busy machine set it
    variables = Config.load(lease_s=2).environ()

    assert variables == {"SIGMAFARM_OWNER": "ann", "SIGMAFARM_LEASE_S": "2.0"}


def test_pictures_lie_in_the_data_folder_unless_said(folder: Path):
    assert Config(data_dir=folder).objects_place == str(folder / "objects")
    assert Config(objects_url="s3://b/p").objects_place == "s3://b/p"


def test_every_setting_is_documented():
    text = README.read_text(encoding="utf-8")
    section = text.split("<!-- settings -->")[1].split("<!-- /settings -->")[0]

    assert section.strip() == settings_table(), "run `python -m sigmafarm_common.config` and paste its table"
    assert all(field.description for field in Config.model_fields.values())


def test_a_path_means_the_same_wherever_the_process_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setenv("SIGMAFARM_WILDCARDS", "lists")
    config = Config(data_dir=Path("data"), models_file=Path("models.toml"), objects_url="pictures")

    monkeypatch.chdir(tmp_path / "elsewhere")

    assert (config.data_dir, config.models_file) == (tmp_path / "data", tmp_path / "models.toml")
    assert config.wildcards == tmp_path / "lists"
    assert config.place == FolderPlace(tmp_path / "pictures")
    told = config.environ()
    assert (told["SIGMAFARM_DATA_DIR"], told["SIGMAFARM_MODELS_FILE"]) == (
        f"{tmp_path}/data",
        f"{tmp_path}/models.toml",
    )
    assert told["SIGMAFARM_OBJECTS_URL"] == f"{tmp_path}/pictures"
    assert Config(objects_url="file:///with%20space").objects_url == "file:///with%20space"


def test_a_home_folder_is_found_and_one_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")

    assert Config(data_dir=Path("~/farm")).data_dir == Path("/home/ann/farm")
    with pytest.raises(InvalidSettings, match="must begin with a home folder that exists"):
        Config(data_dir=Path("~nobody-of-that-name/farm"))


def test_a_data_home_that_is_relative_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "share")

    assert Config().data_dir == tmp_path / "share" / "sigmafarm"
