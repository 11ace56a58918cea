"""The command line: what each command prints, as text and as JSON, and how every error ends."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import pytest

from sigmafarm import Config, Counts, Farm, ModelCard
from sigmafarm.api_address import find_address
from tests import stub_worker
from tests.command_line import Run, runner
from tests.farm_hand import Drawer, FarmHand
from tests.limits import LIMIT_S
from tests.ports import free_port
from tests.redis_server import RedisServer
from tests.sentinel import SentinelServer

#: What a download says of a batch without a job.
NOTHING = dict.fromkeys(("num_fetched", "num_present", "num_without", "num_doubled", "num_unnamed"), 0)


@pytest.fixture
def run(farm: Farm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run the program in this process, on the test's farm."""
    monkeypatch.chdir(tmp_path)
    return runner(farm, monkeypatch, capsys)


@pytest.fixture
def drawing(hand: FarmHand) -> Iterator[FarmHand]:
    """A hand that draws all the while in a thread."""
    with Drawer(hand):
        yield hand


# -- submit


def test_submit_prints_the_batch_to_stdout_and_the_remark_to_stderr(run: Run, hand: FarmHand):
    ran = run("submit", "-p", "a cat", "-p", "a dog", "--name", "pets", "--priority", 3)

    batch = hand.farm.batch(ran.out.strip())
    assert ran.code == 0
    assert (batch.record.name, batch.record.priority, batch.counts) == ("pets", 3, Counts(queued=2))
    assert f"batch {batch.id}: 2 jobs" in ran.err


def test_submit_takes_every_setting_as_a_flag(run: Run, hand: FarmHand):
    ran = run(
        *("submit", "-p", "a", "--negative-prompt", "blur", "--steps", 9, "--guidance", 2.5, "--seed", 4),
        *("--height", 72, "--width", 80, "--lms-order", 2, "--output-format", "webp"),
        *("--sampler", "DPM++ 2M Karras", "--guidance-interval", "0.2-5", "--model", "tiny", "--repeat", 2, "--json"),
        *("--prompt-syntax", "a1111", "--clip-skip", 2, "--on-divergence", "fail"),
    )

    first, second = hand.farm.batch(ran.json["batch"]["id"]).jobs()
    assert first.request.said() == {
        "prompt": "a",
        "negative_prompt": "blur",
        "num_inference_steps": 9,
        "guidance_scale": 2.5,
        "seed": 4,
        "height": 72,
        "width": 80,
        "lms_order": 2,
        "karras_sigmas": True,
        "output_format": "webp",
        "sampler": "dpmpp_2m",
        "guidance_interval": [0.2, 5.0],
        "model": "tiny",
        "prompt_syntax": "a1111",
        "clip_skip": 2,
        "on_divergence": "fail",
    }
    assert second.request.seed == 5


def test_submit_json_has_a_stable_shape(run: Run, hand: FarmHand, tmp_path: Path):
    (tmp_path / "p.jsonl").write_text('{"prompt": "a"}\n{"prompt": "b", "width": 515}\n')

    ran = run("submit", "p.jsonl", "--skip-bad", "--json")

    assert set(ran.json) == {"batch", "is_new", "skipped", "num_skipped", "download"}
    assert ran.json["batch"]["counts"] == {
        "queued": 1,
        "running": 0,
        "succeeded": 0,
        "failed": 0,
        "cancelled": 0,
        "total": 1,
    }
    assert ran.json["skipped"] == [
        {"row": 2, "errors": ["width is 515: must be a multiple of 8 between 64 and 2048; nearest 512 or 520"]}
    ]
    assert "skipped row 2: width is 515" in ran.err


def test_submit_wait_and_out_bring_the_pictures(run: Run, drawing: FarmHand, tmp_path: Path):
    (tmp_path / "prompts.txt").write_text("a\nb\n")

    ran = run("submit", "prompts.txt", "--out", "pictures")

    assert ran.code == 0
    assert sorted(p.name for p in (tmp_path / "pictures").iterdir()) == ["000000.png", "000001.png", "manifest.jsonl"]
    assert "2 pictures fetched: pictures" in ran.err
    assert ran.out.split() == [batch.id for batch in drawing.farm.batches()], "for a script that goes on with it"


def test_submit_wait_ends_with_1_when_a_job_fails_and_says_why(run: Run, drawing: FarmHand):
    ran = run("submit", "-p", "a", "-p", "fail please", "--wait", "--json")

    assert ran.code == 1
    assert ran.json["batch"]["counts"]["failed"] == 1
    assert ran.json["batch"]["is_done"] is True
    assert re.search(r"\w+-000001 failed: no luck", ran.err)


def test_submit_reads_stdin(run: Run, hand: FarmHand, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"prompt,seed\na cat,4\n")))

    ran = run("submit", "-", "--format", "csv", "--json")

    (job,) = hand.farm.batch(ran.json["batch"]["id"]).jobs()
    assert (job.request.prompt, job.request.seed) == ("a cat", 4)


def test_the_same_key_prints_the_same_batch(run: Run, hand: FarmHand):
    first = run("submit", "-p", "a", "--idempotency-key", "k")
    again = run("submit", "-p", "a", "--idempotency-key", "k")

    assert first.out == again.out
    assert "submitted before with this key" in again.err


# -- bad input and services away: one message, the right code, no traceback, nothing accepted


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["submit"], "there is no prompt: name a file, - for stdin, or --prompt TEXT"),
        (["submit", "none.txt"], "prompt file none.txt cannot be read: No such file or directory; check the path"),
        (["submit", "p.txt", "-p", "a"], "prompts come from a file or from --prompt, not from both"),
        (["submit", "-p", "a", "--width", "515"], "width is 515: must be a multiple of 8"),
        (["submit", "-p", "a", "--steps", "0"], "--steps is 0: must be at least 1"),
        (["submit", "-p", "a", "--guidance", "nan"], "--guidance is nan: must be a finite number"),
        (["submit", "-p", "a", "--model", "sdxl"], "model is 'sdxl': this farm knows tiny"),
        (["submit", "-p", "a", "--priority", "101"], "priority is 101: must be a whole number between -100 and 100"),
        (["submit", "short.csv"], "row 17: the row has 1 of 2 columns: seed missing"),
        (["submit", "photo.png"], "photo.png is a picture: prompts come as text"),
        (["status", "nothing"], "there is no batch 'nothing'"),
        (["status", "no-thing"], "there is no job 'no-thing'"),
        (["download", "nothing"], "there is no batch 'nothing'"),
        (["retry", "nothing"], "there is no batch 'nothing'"),
        (["--redis-url", "http://h", "status"], "--redis-url is 'http://h': must begin with redis://"),
        (["--models-file", "none.toml", "models"], "none.toml cannot be read"),
    ],
)
def test_bad_input_is_one_message_and_code_2(run: Run, hand: FarmHand, tmp_path: Path, arguments: list[str], said: str):
    (tmp_path / "p.txt").write_text("a\n")
    (tmp_path / "short.csv").write_text("prompt,seed\n" + "a,1\n" * 15 + "a\n" + "a,1\n" * 3)
    (tmp_path / "photo.png").write_bytes(b"\x89PNG\r\n")

    ran = run(*arguments)

    assert ran.code == 2
    assert ran.err.startswith("sigmafarm: ")
    assert said in ran.err
    assert ran.out == ""
    assert hand.farm.batches() == []


@pytest.mark.parametrize("arguments", [["submit", "-p", "a", "--frobnicate"], ["fly"], ["download"]])
def test_a_wrong_command_line_is_code_2(run: Run, arguments: list[str]):
    assert run(*arguments).code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["submit", "-p", "a"],
        ["status"],
        ["jobs", "0" * 15],
        ["workers"],
        ["models"],
        ["cancel", "0" * 15],
        ["download", "0" * 15],
    ],
)
def test_a_redis_that_is_away_is_code_3_with_the_cure(run: Run, arguments: list[str]):
    ran = run("--redis-url", f"redis://127.0.0.1:{free_port()}", *arguments)

    assert ran.code == 3
    assert re.search(r"sigmafarm: Redis is out of reach .*: start it, or check SIGMAFARM_REDIS_URL", ran.err)


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Addresses at which something answers that is no Redis for a farm, by what it is."""
    folder = tmp_path_factory.mktemp("strange")
    servers = {
        "evicts": RedisServer(folder / "evicts", options=("--maxmemory-policy", "allkeys-lru")),
        "cluster": RedisServer(
            folder / "cluster", options=("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
        ),
        "sentinel": SentinelServer(folder / "sentinel", free_port()),
    }
    for server in servers.values():
        server.start()
    with servers["cluster"].client() as client:
        client.execute_command("CLUSTER", "ADDSLOTS", *range(16384))
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        yield {name: server.url for name, server in servers.items()} | {"web": f"redis://127.0.0.1:{web.server_port}"}
        web.shutdown()
    for server in servers.values():
        server.stop()


@pytest.mark.parametrize(
    "command", ["submit -p a", "status", "workers", "cancel 000000000000000", "check", "serve --port 0"]
)
@pytest.mark.parametrize(
    ("what", "cure"), [("sentinel", "sentinel://host:26379"), ("web", "check SIGMAFARM_REDIS_URL")]
)
def test_what_is_no_redis_is_code_3_with_the_cure(
    run: Run, strange: dict[str, str], what: str, cure: str, command: str
):
    ran = run("--redis-url", strange[what], *command.split())

    assert ran.code == 3
    assert cure in ran.err


@pytest.mark.parametrize(("what", "cure"), [("evicts", "set it to noeviction"), ("cluster", "a Cluster")])
def test_a_submit_to_a_server_that_would_lose_it_is_code_3_with_the_cure(
    run: Run, strange: dict[str, str], what: str, cure: str, tmp_path: Path
):
    (tmp_path / "models.toml").write_text('[models.m]\npath = "m"\ndefaults = { height = 64, width = 64 }\n')

    ran = run("--redis-url", strange[what], "--models-file", tmp_path / "models.toml", "submit", "-p", "a")

    assert ran.code == 3
    assert cure in ran.err


def test_the_doctor_says_what_answers_instead_of_a_redis(run: Run, strange: dict[str, str]):
    said = {what: run("--redis-url", url, "doctor", "--json").out for what, url in strange.items()}

    assert "sentinel://host:26379" in said["sentinel"]
    assert "does not speak Redis's protocol" in said["web"] or "out of reach" in said["web"]
    assert "is a Cluster" in said["cluster"]
    assert "noeviction" in said["evicts"]


def test_a_wrong_redis_password_is_code_3_with_the_cure(run: Run, tmp_path: Path):
    server = RedisServer(
        tmp_path / "guarded", options=("--user", "default", "off", "--user", "ann", "on", ">right", "~*", "+@all")
    )
    try:
        server.start()
    except AssertionError:
        pytest.skip("this server takes no users on its command line")
    ran = run("--redis-url", f"redis://ann:hush@127.0.0.1:{server.port}", "status")
    server.stop()

    assert ran.code == 3
    assert "Redis refuses our credentials" in ran.err
    assert "hush" not in ran.err


def test_no_farm_at_all_is_code_3_with_the_cure(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv("SIGMAFARM_REDIS_URL")
    monkeypatch.setenv("SIGMAFARM_DATA_DIR", str(tmp_path / "none"))

    ran = run("status")

    assert ran.code == 3
    assert "start one with `sigmafarm up`" in ran.err


def test_a_bucket_that_is_away_is_code_3_and_the_batch_stays(run: Run, hand: FarmHand, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    batch = hand.farm.submit("a")
    hand.work_all()

    ran = run(
        *("--objects-url", "s3://pictures", "--s3-endpoint-url", f"http://127.0.0.1:{free_port()}"),
        *("download", batch.id, "--out", "pictures"),
    )

    assert ran.code == 3
    assert "bucket 'pictures' at" in ran.err
    assert "check that the server runs" in ran.err


# -- ask


def test_status_of_the_farm(run: Run, hand: FarmHand):
    batch = hand.farm.submit(["a"] * 3, name="three")

    text, data = run("status"), run("status", "--json").json

    assert "1 worker, 0 of 16 slots busy, 3 jobs waiting" in text.out
    assert re.search(rf"{batch.id}\s+three\s+0\s+3 queued\s+0%", text.out)
    assert set(data) == {"batches", "queues", "workers"}
    assert data["batches"][0]["id"] == batch.id
    (queue,) = data["queues"]
    assert (queue["model"], queue["waiting"], queue["dispatched"], queue["running"]) == ("tiny", {"0": 3}, 0, 0)
    assert data["workers"][0]["id"] == "hand"


def test_status_counts_no_slot_as_busy_for_a_job_that_lies_ready_behind_it(run: Run, farm: Farm, hand: FarmHand):
    farm.store.renew(hand.info.model_copy(update={"num_jobs": hand.info.slots + 4}), [])

    assert "1 worker, 16 of 16 slots busy" in run("status").out


def test_status_of_a_batch_and_of_a_job_says_why_nobody_draws_it(run: Run, farm: Farm, hand: FarmHand):
    batch = farm.submit(["a"])
    farm.store.renew(hand.info.model_copy(update={"is_draining": True}), [])

    of_batch, of_job = run("status", batch.id), run("status", f"{batch.id}-000000")

    for said in (of_batch.out, of_job.out):
        assert "no worker takes jobs for tiny: worker hand is drained; `sigmafarm undrain hand`" in said
    batch.pause()
    assert f"batch {batch.id} is paused: `sigmafarm resume {batch.id}`" in run("status", batch.id).out


def test_status_of_a_batch(run: Run, hand: FarmHand):
    batch = hand.farm.submit(["a", "fail"], name="two", defaults={"seed": 4})
    hand.work_all()

    text, data = run("status", batch.id), run("status", batch.id, "--json").json

    assert "1 succeeded, 1 failed of 2" in text.out
    assert "defaults  seed=4" in text.out
    assert (data["is_done"], data["counts"]["total"], data["defaults"]) == (True, 2, {"seed": 4})


def test_status_of_a_job(run: Run, hand: FarmHand):
    batch = hand.farm.submit(["a", "fail"])
    hand.work_all()
    good, bad = batch.jobs()

    assert f"picture {good.image_key}" in run("status", good.id).out
    assert "error render_failed: no luck" in run("status", bad.id).out
    assert run("status", bad.id, "--json").json["error"] == "no luck"


def test_status_watch_ends_with_the_batch_and_its_code(run: Run, drawing: FarmHand):
    good, bad = drawing.farm.submit(["a"] * 40), drawing.farm.submit("fail")

    watched, failed = run("status", good.id, "--watch", "--json"), run("status", bad.id, "--watch")

    lines = [json.loads(line) for line in watched.out.splitlines()]
    assert (watched.code, lines[-1]["counts"]["succeeded"], lines[-1]["is_done"]) == (0, 40, True)
    assert failed.code == 1


def test_jobs_lists_by_state_and_limit(run: Run, hand: FarmHand):
    batch = hand.farm.submit(["a", "fail", "b" * 60])
    hand.work_all()

    everything, failed, two = (
        run("jobs", batch.id),
        run("jobs", batch.id, "--state", "failed", "--json").json,
        run("jobs", batch.id, "--limit", 2),
    )

    assert "succeeded" in everything.out
    assert "no luck" in everything.out
    assert "\t" + "b" * 60 + "\n" in everything.out
    assert [job["row"] for job in failed["jobs"]] == [1]
    assert "the first 2; --limit 0 lists all" in two.err
    assert len(run("jobs", batch.id, "--limit", 0, "--json").json["jobs"]) == 3


def test_warnings_are_told_by_status_and_jobs(run: Run, farm: Farm, hand: FarmHand):
    batch = farm.submit(["warn a", "b"])
    hand.work_all()

    assert "warnings  1 prompt_cut" in run("status", batch.id).out
    assert "warning prompt_cut: 2 tokens of the prompt <do> not fit" in run("status", f"{batch.id}-000000").out
    assert re.search(r"hand\s+prompt_cut\s+warn a\s*\n.*hand\s+-\s+b", run("jobs", batch.id).out)
    told = [{"code": "prompt_cut", "text": "2 tokens of the prompt <do> not fit"}]
    assert [job["warnings"] for job in run("jobs", batch.id, "--json").json["jobs"]] == [told, []]
    assert [job["row"] for job in run("jobs", batch.id, "--warning", "prompt_cut", "--json").json["jobs"]] == [0]
    assert run("jobs", batch.id, "--warning", "other", "--json").json["jobs"] == []
    assert run("status", batch.id, "--json").json["warnings"] == {"prompt_cut": 1}


def test_workers_and_models(run: Run, hand: FarmHand):
    assert re.search(r"hand\s+cpu\s+tiny\s+0/16\s+0\s+0.000\s+ready", run("workers").out)
    assert run("workers", "--json").json["workers"][0]["slots"] == 16
    assert "64x64" in run("models").out
    assert run("models", "--json").json["models"][0]["name"] == "tiny"


def test_what_a_worker_has_ahead_fills_no_slot(run: Run, farm: Farm):
    hand = FarmHand(farm, slots=2)
    farm.submit(["a"] * 6)
    hand.claim()
    farm.store.renew(hand.info.model_copy(update={"num_jobs": 6}), [])

    assert "1 worker, 2 of 2 slots busy" in run("status").out
    assert run("workers").out.split("\t")[3] == "2/2 +4"


def test_a_worker_is_drained_and_takes_jobs_again(run: Run, farm: Farm, hand: FarmHand):
    assert "worker hand finishes what it has and takes no more" in run("drain", "hand").err
    assert farm.store.is_drained("hand")
    assert run("undrain", "hand", "--json").json == {"worker": "hand", "workers": ["hand"], "is_draining": False}
    assert not farm.store.is_drained("hand")
    nobody = run("drain", "nobody")
    assert (nobody.code, "there is no worker 'nobody'" in nobody.err) == (2, True)


def test_all_workers_of_a_machine_are_drained_by_its_name(run: Run, farm: Farm, hand: FarmHand):
    at_box = [hand.info.model_copy(update={"id": f"box-{n}", "host": "box"}) for n in range(2)]
    for worker in at_box:
        farm.store.renew(worker, [])
    assert run("drain", "box", "box-1", "--json").json["workers"] == ["box-0", "box-1"]
    assert [farm.store.is_drained(each) for each in ("box-0", "box-1", "hand")] == [True, True, False]
    assert run("undrain", "box").err.count("takes jobs again") == 2


def test_a_batchs_priority_is_changed(run: Run, farm: Farm, hand: FarmHand):
    batch = farm.submit(["a"])
    assert run("priority", batch.id, "-5", "--json").json["priority"] == -5
    assert run("priority", batch.id, "7").code == 0
    assert batch.record.priority == 7
    for bad in ("101", "-101", "x", "1.5", "--5"):
        assert run("priority", batch.id, bad).code == 2
    assert batch.record.priority == 7


def test_errors_are_json_too_where_that_was_asked_for(run: Run, farm: Farm, hand: FarmHand, tmp_path: Path):
    (tmp_path / "p.csv").write_text("prompt,seed\na,1\nb,x\nc,-9\n")

    bad, plain = run("submit", "p.csv", "--json"), run("submit", "p.csv")

    said = bad.json["error"]
    assert (bad.code, said["code"], said["num_bad"], said["retryable"]) == (2, "invalid_rows", 2, False)
    assert [row["row"] for row in said["rows"]] == [3, 4]
    assert "seed is 'x'" in said["rows"][0]["errors"][0]
    assert (plain.code, plain.out) == (2, "")
    assert "leave them out with --skip-bad" in plain.err
    assert plain.err == bad.err
    gone = run("status", "nosuch", "--json")
    assert (gone.code, gone.json["error"]["code"]) == (2, "not_found")
    assert run("--redis-url", "redis://127.0.0.1:1/0", "workers", "--json").json["error"]["retryable"] is True


def test_other_names_of_a_model_are_listed(run: Run, farm: Farm):
    farm.store.register_models([ModelCard(name="m", description="A model", aliases=("dall-e-3", "gpt-image-1"))])

    assert "A model; also dall-e-3, gpt-image-1" in " ".join(run("models").out.split())
    assert run("models", "--json").json["models"][0]["aliases"] == ["dall-e-3", "gpt-image-1"]


def test_two_models_under_one_name_are_told_by_workers_and_models(run: Run, hand: FarmHand):
    store, said = hand.farm.store, "(0f3c9a71d2e4 on hand, 77ab00000000 on other)"
    store.register_models([ModelCard(name="tiny", fingerprint="77ab00000000")])
    for name, fingerprint in (("hand", "0f3c9a71d2e4"), ("other", "77ab00000000")):
        store.renew(hand.info.model_copy(update={"id": name, "fingerprints": {"tiny": fingerprint}}), [])

    for command in ("workers", "models"):
        assert said in run(command).err.replace("\n", " ")
    assert "77ab00000000" in run("models").out
    assert run("models", "--json").json["models"][0]["fingerprint"] == "77ab00000000"
    assert run("workers", "--json").json["workers"][0]["fingerprints"] == {"tiny": "0f3c9a71d2e4"}


def test_a_model_that_no_worker_could_load_is_refused_and_one_that_is_broken_here_is_warned_of(
    run: Run, hand: FarmHand, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    hand.farm.store.renew(hand.info.model_copy(update={"broken": {"bad": "no weights"}}), [])
    (tmp_path / "broken.safetensors").write_bytes(b"not weights")
    (tmp_path / "models.toml").write_text('[models.own]\npath = "broken.safetensors"\n')
    monkeypatch.setenv("SIGMAFARM_MODELS_FILE", "models.toml")

    refused, warned = run("submit", "-p", "a", "--model", "bad"), run("submit", "-p", "a", "--model", "own")
    served = run("submit", "-p", "a", "--model", "tiny")

    assert refused.code == 2
    assert "model 'bad' cannot be loaded: worker hand: no weights; mend it, or choose" in refused.err
    assert warned.code == 0
    assert "warning: own cannot be loaded, and its jobs wait until a worker serves it: seen from this" in warned.err
    assert "warning" not in served.err


def test_models_shows_parts_size_who_serves_it_and_what_could_not_be_loaded(run: Run, hand: FarmHand):
    parts = {"unet": "one.safetensors", "vae": "mse.safetensors", "tokenizer": "CLIP's own"}
    size = {"width": 768, "height": 512}
    card = ModelCard(
        name="tiny", defaults=size, parts=parts, prediction_type="v_prediction", fingerprint="0f3c9a71d2e4"
    )
    hand.farm.store.register_models([card])
    problem = "model 'bad', unet: bad/config.json: sample_size is null: must be a whole number"
    hand.farm.store.renew(hand.info.model_copy(update={"broken": {"bad": problem}}), [])

    said = run("models")
    tiny, bad = sorted(run("models", "--json").json["models"], key=lambda model: model["name"], reverse=True)

    assert all(word in said.out for word in ("768x512", "v_prediction", "hand", "one.safetensors"))
    assert f"bad cannot be loaded: worker hand: {problem}" in said.err.replace("\n", " ")
    assert (tiny["resident"], tiny["broken"], tiny["parts"]) == (["hand"], {}, parts)
    assert (bad["resident"], bad["broken"]) == ([], {"hand": problem})


def test_worker_that_cannot_store_pictures_is_told_with_its_reason(run: Run, hand: FarmHand):
    (worker,) = hand.farm.workers()
    hand.farm.store.renew(worker.model_copy(update={"failing": "pictures cannot be stored: the disk is full"}), [])

    assert "failing: pictures cannot be stored: the disk is full" in run("workers").out.replace("\n", " ")
    assert "takes no jobs: pictures cannot be stored: the disk is full" in run("status").out.replace("\n", " ")
    assert run("workers", "--json").json["workers"][0]["failing"] == "pictures cannot be stored: the disk is full"


def test_an_empty_farm_says_what_to_do(run: Run):
    assert "start one with `sigmafarm worker`" in run("workers").err
    assert "start a worker" in run("models").err
    assert run("status").code == 0


def test_config_shows_values_sources_and_warnings_but_no_secret(run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SIGMAFARM_REDIS_URL", "redis://ann:hush@host:6379/0")
    monkeypatch.setenv("SIGMAFARM_LEASE", "1")

    text, data = run("--owner", "bob", "config"), run("--owner", "bob", "config", "--json").json

    assert re.search(r"SIGMAFARM_REDIS_URL\s+redis://ann:\*\*\*@host:6379/0\s+environment", text.out)
    assert re.search(r"SIGMAFARM_OWNER\s+bob\s+flag", text.out)
    assert "hush" not in text.out + json.dumps(data)
    assert "SIGMAFARM_LEASE names no setting: did you mean SIGMAFARM_LEASE_S?" in text.err
    assert set(data["settings"][0]) == {"name", "variable", "value", "source", "description"}


def test_the_version_is_told(run: Run):
    assert re.fullmatch(r"sigmafarm \d+\.\d+\.\d+\n", run("--version").out)


def test_a_completion_for_the_shell_is_there(run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("shellingham.detect_shell", lambda: ("bash", "/bin/bash"))

    assert "complete" in run("--show-completion").out


# -- steer


def test_cancel_pause_resume_and_retry_a_batch(run: Run, hand: FarmHand):
    batch = hand.farm.submit(["a", "fail"])

    assert run("pause", batch.id, "--json").json["is_paused"] is True
    assert "goes on" in run("resume", batch.id).err
    hand.work_all()
    assert "1 job queued again" in run("retry", batch.id).err
    assert "1 job cancelled" in run("cancel", batch.id).err
    assert "1 job queued again" in run("retry", batch.id, "--cancelled").err
    assert batch.counts == Counts(succeeded=1, queued=1)


def test_pause_of_a_batch_that_has_ended_says_what_it_is_for(run: Run, hand: FarmHand):
    batch = hand.farm.submit(["a"])
    hand.work_all()

    assert "paused, though all its jobs have ended: those that are retried will wait" in run("pause", batch.id).err
    assert batch.record.is_paused


def test_cancel_and_retry_one_job(run: Run, hand: FarmHand):
    batch = hand.farm.submit(["a", "b"])
    job = next(batch.jobs())

    assert f"job {job.id} is cancelled" in run("cancel", job.id).err
    assert f"job {job.id} is queued" in run("retry", job.id).err
    again = run("retry", job.id)
    assert again.code == 2
    assert "queued" in again.err


def test_download_again_fetches_the_rest(run: Run, hand: FarmHand, tmp_path: Path):
    batch = hand.farm.submit(["a", "b"])
    hand.work_all()
    run("download", batch.id, "--out", "p")
    (tmp_path / "p" / "000001.png").unlink()

    ran = run("download", batch.id, "--out", "p", "--json")

    assert ran.code == 0
    assert ran.json == {**NOTHING, "folder": "p", "num_fetched": 1, "num_present": 1}


# -- the process itself


UP = """
import sys
from pathlib import Path
from sigmafarm import Config
from sigmafarm.cli.start.up import run_up
run_up(Config.load(data_dir=Path(sys.argv[1]), drain_s=5), worker_command=sys.argv[2:])
"""


def test_up_runs_until_it_is_told_to_stop_and_ends_everything(tmp_path: Path):
    process = subprocess.Popen(
        [sys.executable, "-c", UP, str(tmp_path), *stub_worker.COMMAND], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr
    said = [process.stderr.readline() for _ in range(5)]

    farm = Farm.from_env(data_dir=tmp_path)
    batch = farm.submit("a", defaults={"model": "tiny"})
    assert batch.wait(timeout_s=LIMIT_S).succeeded == 1
    linked = farm._repr_html_()
    address = find_address(Config.load(data_dir=tmp_path))
    served = httpx2.get(f"{address}/v1/batches/{batch.id}").json()
    process.send_signal(signal.SIGTERM)
    _, rest = process.communicate(timeout=LIMIT_S)

    assert process.returncode == 0
    assert "the farm is up" in said[0]
    assert said[1].split()[-1] == address
    assert "ready; hand draws tiny on cpu" in said[4]
    assert served["counts"]["succeeded"] == 1
    assert "stopped; the next `sigmafarm up` goes on from here" in rest
    assert f'href="{address}/"' in linked
    assert not (tmp_path / "broker.url").exists()
    assert not (tmp_path / "api.url").exists()
    assert not (tmp_path / "broker" / "redis.sock").exists()


def test_up_beside_a_redis_that_is_named_is_refused(run: Run):
    ran = run("up")

    assert ran.code == 2
    assert "unset it, or run `sigmafarm worker`" in ran.err


def test_ctrl_c_while_waiting_leaves_the_batch_and_says_how_to_go_on(run: Run, hand: FarmHand, redis_url: str):
    process = subprocess.Popen(
        [sys.executable, "-m", "sigmafarm.cli", "submit", "-p", "a", "--wait"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "SIGMAFARM_REDIS_URL": redis_url},
    )
    assert process.stderr
    first = process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=LIMIT_S)

    assert process.returncode == 130
    assert "goes on without us" in rest
    assert "Traceback" not in rest
    assert hand.farm.batch(first.split()[1].rstrip(":")).counts.queued == 1


@pytest.mark.parametrize("flags", ["", "--csv", "--json"])
def test_a_reader_that_goes_away_is_no_error(hand: FarmHand, redis_url: str, flags: str):
    """The reader is gone before the first byte comes: whatever is written then finds no one."""
    batch = hand.farm.submit([f"prompt {n} " + "x" * 200 for n in range(500)])
    reader, writer = os.pipe()
    os.close(reader)

    process = subprocess.run(
        [sys.executable, "-m", "sigmafarm.cli", "jobs", batch.id, "--limit", "0", *flags.split()],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "SIGMAFARM_REDIS_URL": redis_url},
    )
    os.close(writer)

    assert process.stderr == ""
    assert process.returncode == 0


def test_worker_becomes_the_supervisor_with_its_settings(run: Run, monkeypatch: pytest.MonkeyPatch):
    became: list[tuple[str, list[str], dict[str, str]]] = []

    def become(path: str, arguments: list[str], environment: dict[str, str]) -> None:
        became.append((path, arguments, environment))

    monkeypatch.setattr(os, "execve", become)
    monkeypatch.setattr("sigmafarm.cli.start.up.supervisor_command", lambda: ["/python", "-m", "worker"])

    run("--owner", "ann", "worker", "--device", "cpu", "--max-images", 3)

    ((path, arguments, environment),) = became
    assert (path, arguments) == ("/python", ["/python", "-m", "worker"])
    assert environment["SIGMAFARM_DEVICE"] == "cpu"
    assert environment["SIGMAFARM_MAX_IMAGES"] == "3"
    assert environment["SIGMAFARM_OWNER"] == "ann"


def test_a_worker_that_is_not_installed_is_told_with_the_cure(run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sigmafarm.up.WORKER_PACKAGE", "no_such_package")

    ran = run("worker")

    assert ran.code == 2
    assert "pip install 'sigmafarm[worker]'" in ran.err
