"""The operator's commands: check, sweep and doctor, on a real Redis, as text and as JSON, with their exit codes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import redis

from sigmafarm import Farm, JobState
from tests.command_line import Run, runner
from tests.farm_hand import FarmHand
from tests.ports import free_port
from tests.redis_server import RedisServer


@pytest.fixture
def run(farm: Farm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the program in this process, on the test's farm."""
    monkeypatch.setattr("sigmafarm_common.check.checker.PAUSE_S", 0)
    return runner(farm, monkeypatch, capsys)


@pytest.fixture
def drawn(farm: Farm, hand: FarmHand) -> str:
    """A batch of two pictures and one failure, as the hand leaves it: its manifest is still due."""
    batch = farm.submit(["a barn", "a boat", "fail"])
    hand.work_all()
    return batch.id


def age(farm: Farm, key: str, by_s: float) -> None:
    path = farm.config.data_dir / "objects" / key
    changed_s = path.stat().st_mtime - by_s
    os.utime(path, (changed_s, changed_s))


# -- adopt


def test_adopt_tells_what_it_would_do_and_does_it_when_told(
    run: Run, farm: Farm, drawn: str, redis_client: redis.Redis
):
    redis_client.flushdb()

    told = run("adopt")
    assert (told.code, told.err) == (0, "1 to adopt; --yes does it\n")
    assert drawn in told.out
    assert "its pictures alone: later rows may be missing" in told.out.replace("\n", " ")
    assert run("adopt", "--json").json == {
        "batches": [
            {
                "id": drawn,
                "num_rows": 2,
                "num_pictures": 2,
                "has_manifest": False,
                "is_old": False,
                "is_chosen": True,
            }
        ],
        "is_dry_run": True,
        "num_adopted": 0,
    }
    assert farm.batches() == []

    assert run("adopt", "--yes").err == "1 adopted\n"
    assert run("check", "--final", "--deep").code == 0
    assert run("status", drawn, "--json").json["counts"]["total"] == 2
    assert run("adopt", drawn, "--yes").code == 2
    assert run("adopt").err == "0 to adopt\n"


# -- check


def test_check_of_a_farm_in_order_says_what_it_looked_at(run: Run, drawn: str):
    ran = run("check", "--final", "--deep")

    assert (ran.code, ran.out) == (0, "")
    assert ran.err == "1 batch, 3 jobs, 2 pictures: no violations\n"


def test_check_in_json(run: Run, drawn: str):
    ran = run("check", "--json")

    assert ran.code == 0
    assert ran.json == {"violations": [], "num_batches": 1, "num_jobs": 3, "num_pictures": 2}


def test_check_names_each_violation_and_exits_with_1(run: Run, farm: Farm, drawn: str):
    job = farm.job(f"{drawn}-000000")
    farm.objects.delete(job.image_key)

    text, as_json = run("check"), run("check", "--json")

    assert text.code == as_json.code == 1
    assert text.out.startswith(f"I4 job {job.id} has no picture any more, {job.image_key} is not in the object store")
    assert text.err.endswith(": 1 violation\n")
    (violation,) = as_json.json["violations"]
    assert {k: violation[k] for k in ("invariant", "rule", "subject")} == {
        "invariant": "I4",
        "rule": "picture_missing",
        "subject": job.id,
    }
    assert violation["message"] in text.out


def test_check_reads_bytes_only_when_it_is_told_to(run: Run, farm: Farm, drawn: str):
    job = farm.job(f"{drawn}-000000")
    farm.objects.put(job.image_key, b"x" * job.size_bytes, "image/png")

    assert run("check").code == 0
    assert run("check", "--deep", "--json").json["violations"][0]["rule"] == "picture_sha256"


def test_check_calls_an_open_job_a_violation_only_at_the_end(run: Run, farm: Farm, hand: FarmHand):
    farm.submit(["a barn"])

    assert run("check").code == 0
    ran = run("check", "--final")
    assert ran.code == 1
    assert "I1 job" in ran.out
    assert "is queued: it never reached an end" in ran.out


@pytest.mark.parametrize("command", ["check", "sweep"])
def test_a_farm_out_of_reach_exits_with_3(run: Run, command: str):
    ran = run("--redis-url", f"redis://127.0.0.1:{free_port()}/0", command)

    assert ran.code == 3
    assert "Redis is out of reach" in ran.err


# -- sweep


def test_sweep_tells_and_removes_nothing_unless_it_is_told_to(run: Run, farm: Farm, drawn: str):
    key = f"{drawn}/000002-f1.png"
    farm.objects.put(key, b"left", "image/png")
    age(farm, key, 7200)

    ran = run("sweep")

    assert ran.code == 0
    assert key in ran.out
    assert ran.err == "1 found; --delete removes them\n"
    assert farm.objects.stat(key)


def test_sweep_removes_what_is_old_and_leaves_what_is_young(run: Run, farm: Farm, drawn: str):
    old, young = f"{drawn}/000002-f1.png", f"{drawn}/000002-f0.png"
    for key in (old, young):
        farm.objects.put(key, b"left", "image/png")
    age(farm, old, 7200)

    ran = run("sweep", "--delete", "--json")

    assert ran.json["num_removed"] == 1
    assert [o["key"] for o in ran.json["objects"]] == [old]
    assert {o.key for o in farm.objects.list()} == {
        young,
        *(job.image_key for job in farm.batch(drawn).jobs(state=JobState.SUCCEEDED)),
    }
    assert run("sweep", "--older-than", 0, "--delete").err == "1 removed\n"


def test_sweep_lists_stale_entries(run: Run, farm: Farm, drawn: str, redis_client: redis.Redis):
    redis_client.sadd("sigmafarm:worker:gone:jobs", "ghost")

    ran = run("sweep", "--json")

    assert ran.json == {
        "objects": [],
        "partials": [],
        "entries": [{"place": "held", "name": "gone", "job": "ghost"}],
        "is_dry_run": True,
        "num_removed": 0,
    }
    assert "held gone ghost" in run("sweep", "--delete").out
    assert not redis_client.exists("sigmafarm:worker:gone:jobs")


def test_sweep_of_a_farm_in_order_finds_nothing(run: Run, drawn: str):
    ran = run("sweep")

    assert (ran.code, ran.out, ran.err) == (0, "", "0 found\n")


# -- doctor


def test_doctor_goes_through_everything(run: Run, farm: Farm, hand: FarmHand, redis_client: redis.Redis):
    farm.store.lead("k1", 30)

    ran = run("doctor", "--json")

    grades = {f["subject"]: f["grade"] for f in ran.json["findings"]}
    assert ran.code == 0
    for subject in ("Redis round trip", "clock", "Redis version", "Redis eviction", "Redis memory", "object store"):
        assert grades[subject] == "ok", ran.finding(subject)
    assert ran.finding("workers")["message"] == "1 seen: hand on cpu"
    assert ran.finding("keeper") == {
        "grade": "ok",
        "subject": "keeper",
        "message": "k1 leads; it has not ended a whole round yet",
    }


def test_doctor_warns_of_what_is_missing_with_the_cure(run: Run, farm: Farm):
    ran = run("doctor", "--json")

    assert "start one with `sigmafarm worker`" in ran.finding("workers")["message"]
    assert ran.finding("keeper")["grade"] == "warn"
    assert "set appendonly yes" in ran.finding("Redis persistence")["message"]
    assert ran.code == 0


def test_doctor_fails_a_server_that_evicts(run: Run, farm: Farm, redis_client: redis.Redis):
    redis_client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        ran = run("doctor")
    finally:
        redis_client.config_set("maxmemory-policy", "noeviction")

    assert ran.code == 1
    assert "fail Redis eviction: Redis has maxmemory-policy allkeys-lru" in ran.out


def test_doctor_goes_on_where_redis_and_the_bucket_are_away(run: Run, tmp_path: Path):
    (tmp_path / "file").write_text("no folder")

    ran = run(
        "--redis-url", f"redis://127.0.0.1:{free_port()}/0", "--objects-url", tmp_path / "file", "doctor", "--json"
    )

    assert ran.code == 1
    assert "Redis is out of reach" in ran.finding("Redis")["message"]
    assert ran.finding("object store")["grade"] == "fail"
    assert ran.json["findings"][-1]["subject"].startswith("model")


def test_doctor_tells_of_jobs_that_no_worker_can_draw(run: Run, farm: Farm, hand: FarmHand):
    farm.submit(["a barn"])
    farm.store.forget_worker(hand.info.id)

    ran = run("doctor", "--json")

    assert "1 job waits for tiny, which no worker serves" in ran.finding("queue tiny")["message"]


def test_doctor_tells_of_jobs_whose_workers_take_none(run: Run, farm: Farm, hand: FarmHand):
    farm.submit(["a barn"])
    farm.store.drain_worker(hand.info.id)

    ran = run("doctor", "--json")

    assert "1 job waits for tiny, and no worker that has it takes jobs" in ran.finding("queue tiny")["message"]


def test_doctor_reads_the_models_file(run: Run, tmp_path: Path):
    (tmp_path / "models.toml").write_text(f'[models.sd]\npath = "{tmp_path / "nowhere"}"\n')

    ran = run("--models-file", tmp_path / "models.toml", "doctor", "--json")

    assert ran.code == 1
    assert ran.finding("model sd")["message"].startswith("there is no folder")


def test_doctor_on_an_append_only_server_is_content(tmp_path: Path, run: Run):
    server = RedisServer(tmp_path / "aof", has_aof=True, options=("--appendfsync", "everysec"))
    server.start()
    try:
        ran = run("--redis-url", server.url, "doctor", "--json")
    finally:
        server.stop()

    assert ran.finding("Redis persistence") == {
        "grade": "ok",
        "subject": "Redis persistence",
        "message": "append-only file; a crash of the machine may lose about a second of submits",
    }
