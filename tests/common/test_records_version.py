"""The version of the farm's records: noted by who starts; a newer one is refused by an older program's scripts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from sigmafarm_common.config import Config
from sigmafarm_common.doctor.examination import examine
from sigmafarm_common.errors import FarmUnavailable, NewerRecords
from sigmafarm_common.finding import Grade
from sigmafarm_common.objects import open_objects
from sigmafarm_common.store.redis.scripts import script_texts
from sigmafarm_common.store.redis_store import RedisStore
from sigmafarm_common.store.values import SCHEMA_VERSION, Beat
from tests.common.store_contract import claim_all, dispatch, output, submit, worker
from tests.limits import LIMIT_S

SAID = (
    rf"the farm's records are of version {SCHEMA_VERSION + 1}, and this program knows version {SCHEMA_VERSION}: a "
    r"newer sigmafarm wrote them; upgrade this one \(docs/deploy/upgrade.md\), or restore the backup from before the "
    r"upgrade"
)


@pytest.fixture
def store(redis_client: redis.Redis) -> RedisStore:
    return RedisStore(Config(), redis_client)


def upgrade(store: RedisStore) -> None:
    """Do what the first start of a newer program does."""
    store.client.set("sigmafarm:schema", SCHEMA_VERSION + 1)


def test_who_starts_notes_the_version_and_a_second_start_finds_it(store: RedisStore) -> None:
    assert store.records_version() == 0

    store.check()
    store.check()

    assert store.records_version() == SCHEMA_VERSION


def test_records_from_before_versions_were_noted_are_of_the_first(store: RedisStore) -> None:
    batch = submit(store)

    store.check()

    assert store.batch(batch.id).counts.queued == 1
    assert len(dispatch(store)) == 1


def test_an_older_program_starts_nothing_and_lowers_nothing(store: RedisStore) -> None:
    upgrade(store)

    with pytest.raises(NewerRecords, match=SAID):
        store.check()

    assert store.records_version() == SCHEMA_VERSION + 1


def test_an_older_program_that_runs_on_changes_nothing(store: RedisStore) -> None:
    submit(store, 3)
    (claim,) = claim_all(store, dispatch(store, slots=1)[:1])
    upgrade(store)
    before = {key: store.client.dump(key) for key in sorted(store.client.keys("sigmafarm:*"))}

    for call in (
        lambda: submit(store),
        lambda: store.lead("k", 30),
        lambda: store.renew(worker(), [Beat(claim.job_id, claim.fence, 5, True)]),
        lambda: store.finish(claim.job_id, claim.fence, output(claim)),
        lambda: store.release(claim.job_id, claim.fence),
        lambda: store.cancel_batch(claim.batch_id),
        lambda: store.take_back(),
    ):
        with pytest.raises(NewerRecords, match=SAID):
            call()

    assert {key: store.client.dump(key) for key in sorted(store.client.keys("sigmafarm:*"))} == before


@pytest.mark.parametrize("name", sorted(script_texts()))
def test_every_script_begins_with_the_guard(name: str) -> None:
    assert "\nrefuse_newer_records()\n" in script_texts()[name]


def test_no_waiting_helps_and_who_asks_hears_of_an_absence() -> None:
    assert issubclass(NewerRecords, FarmUnavailable)
    assert (NewerRecords.code, NewerRecords.retryable) == ("newer_records", False)
    assert (NewerRecords.exit_code, NewerRecords.http_status) == (3, 503)


def test_a_version_that_is_none_stops_nobody(store: RedisStore) -> None:
    store.client.set("sigmafarm:schema", "a hand's")

    submit(store)
    store.check()

    assert store.records_version() == SCHEMA_VERSION


def test_a_supervisor_of_an_older_program_ends_with_the_sentence(
    store: RedisStore, redis_url: str, tmp_path: Path
) -> None:
    upgrade(store)
    config = Config(redis_url=redis_url, objects_url=str(tmp_path / "objects"))

    done = subprocess.run(
        [sys.executable, "-m", "sigmafarm_worker"],
        env={**os.environ, **config.environ()},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )

    assert done.returncode == NewerRecords.exit_code
    assert "upgrade this one" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_doctor_tells_the_version_and_what_a_newer_one_means(store: RedisStore, tmp_path: Path) -> None:
    config = Config(objects_url=str(tmp_path))
    store.check()

    def records() -> tuple[Grade, str]:
        found = examine(config, lambda: store, lambda: open_objects(config), bundled=None)
        return next((f.grade, f.message) for f in found if f.subject == "records")

    assert records() == (Grade.OK, f"of version {SCHEMA_VERSION}")
    upgrade(store)
    grade, said = records()
    assert grade is Grade.FAIL
    assert "upgrade this one" in said
