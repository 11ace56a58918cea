"""A farm of real processes on every server that people have: its user's least rights, and a crash in the middle."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sigmafarm_common.config import Config
from sigmafarm_common.doctor.examination import examine
from sigmafarm_common.doctor.finding import Grade
from sigmafarm_common.errors import AccessDenied
from sigmafarm_common.store.redis_store import RedisStore
from tests.chaos.chaos_farm import ChaosFarm, until
from tests.common.store_contract import submit
from tests.redis_server import RedisServer

MakeFarm = Callable[..., ChaosFarm]
README = Path(__file__).parents[2] / "common" / "README.md"


@pytest.fixture
def make_farm(tmp_path: Path) -> Iterator[MakeFarm]:
    farms: list[ChaosFarm] = []

    def make(url: str, **settings: object) -> ChaosFarm:
        folder = tmp_path / f"farm-{len(farms)}"
        folder.mkdir()
        farms.append(ChaosFarm(folder, redis_url=url, **settings))
        return farms[-1]

    yield make
    for farm in farms:
        farm.close()


def least_rights(password: str, namespace: str) -> list[str]:
    """The words of the README's line, which makes a user with all rights that the farm needs and no other."""
    (line,) = re.findall(r"<!-- rights -->\n```\n(.*)\n```\n<!-- /rights -->", README.read_text())
    if namespace != "sigmafarm":
        line = line.replace("~sigmafarm:* ~render.* ~_kombu.* ~unacked*", f"~{namespace}:*")
    return line.replace("PASSWORD", password).split()


def make_user(server: RedisServer, *more: str, namespace: str = "sigmafarm") -> str:
    """Make that user and return the URL with which it logs in."""
    with server.client() as client:
        client.execute_command(*least_rights("p", namespace), *more)
    return server.url.replace("://", "://farm:p@")


@pytest.mark.parametrize("namespace", ["sigmafarm", "two"])
def test_a_user_with_the_least_rights_runs_a_whole_farm(
    server: RedisServer, make_farm: MakeFarm, namespace: str
) -> None:
    farm = make_farm(make_user(server, namespace=namespace), namespace=namespace)
    farm.start_workers(1)
    batch_id, cancelled = farm.submit(12), farm.submit_and_draw(40, 1, num_inference_steps=200)

    farm.store.want_previews()
    farm.store.pause_batch(cancelled)
    farm.store.resume_batch(cancelled)
    farm.store.cancel_batch(cancelled)

    until(lambda: farm.store.batch(cancelled).counts.is_done, "the cancel is through")
    farm.end_and_check(batch_id)
    findings = list(examine(farm.config, lambda: farm.store, lambda: farm.objects, bundled=None))
    assert [f for f in findings if f.subject.startswith("Redis") and f.grade is Grade.FAIL] == []
    assert "refuse" not in farm.logs()


@pytest.mark.parametrize("taken", ["-evalsha", "-xadd", "-time", "resetkeys ~other:*", "-hgetall"])
def test_a_user_with_less_is_refused_and_told_where_the_rights_stand(
    server: RedisServer, make_farm: MakeFarm, taken: str
) -> None:
    farm = make_farm(make_user(server, *taken.split()))

    def ask() -> None:
        submit(farm.store)
        farm.store.batches()

    with pytest.raises(AccessDenied, match=r"check user and password .* common/README.md has the rights"):
        ask()


def test_the_least_rights_are_not_all(server: RedisServer) -> None:
    url = make_user(server)
    store = RedisStore(Config(redis_url=url))
    for command in (["FLUSHALL"], ["CONFIG", "SET", "maxmemory", "1"], ["GET", "other"], ["KEYS", "*"], ["SHUTDOWN"]):
        with pytest.raises(Exception, match="permission"):
            store.client.execute_command(*command)


def test_a_crash_in_the_middle_loses_nothing(server: RedisServer, make_farm: MakeFarm) -> None:
    farm = make_farm(server.url)
    (worker,) = farm.start_workers(1)
    batch_id = farm.submit_and_draw(20, 4, num_inference_steps=100)

    server.kill()
    until(lambda: "waiting for a service" in farm.logs() or "service away" in farm.logs(), "the outage is noticed")
    server.start()

    farm.end_and_check(batch_id)
    assert [w.pid for w in farm.wait_for_workers(1)] == [worker.pid]
