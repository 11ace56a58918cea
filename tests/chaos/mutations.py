"""Whether the tests of the fault table notice: each mechanism is switched off in a copy, and its test must fail.

`python -m tests.chaos.mutations` tries them all, `... 4 11` those of some rows. It takes minutes.
Exit code 0: all were noticed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: The packages, and what their tests need.
PARTS = ("common", "producer", "worker", "tests", "pyproject.toml")
#: Seconds that a spoiled farm may take: many of them never end by themselves.
TIMEOUT_S = 90


@dataclass(frozen=True)
class Mutation:
    """One mechanism switched off: `old` becomes `new` in a file, and a test of the row must fail."""

    row: int
    test: str
    file: str
    old: str
    new: str
    #: Where the test stands.
    place: str = "tests/chaos"
    timeout_s: int = TIMEOUT_S


LUA = "common/sigmafarm_common/store/lua"
WORKER = "worker/sigmafarm_worker"
UNCLAIMED = (f"{LUA}/take_back.lua", "local old = time - ARGV[4]", "local old = 0")
PATIENCE = (f"{WORKER}/service/patience.py", "PATIENCE_S = 600.0", "PATIENCE_S = 0.0")
KEPT = (
    f"{WORKER}/service/outlet.py",
    "if held.drop_outcome is not None or (is_long and self._can_another(held)):",
    "if True:",
)

MUTATIONS = (
    Mutation(
        1,
        "test_01_jobs_of_a_killed_worker",
        f"{WORKER}/service/supervisor.py",
        "self._orphans.append(child.worker_id)",
        "pass",
    ),
    Mutation(1, "test_01_jobs_of_a_killed_machine", f"{LUA}/take_back.lua", "if ARGV[7] == '1' then", "if false then"),
    Mutation(2, "test_02", *UNCLAIMED),
    Mutation(3, "test_03", *UNCLAIMED),
    Mutation(
        4,
        "test_04",
        f"{LUA}/_prelude.lua",
        "j.state == 'running' and j.fence .. '-' .. j.token == fence then",
        "j.state == 'running' then",
    ),
    Mutation(5, "test_05", f"{WORKER}/service/pulse.py", "if not self.is_ready or self._is_alive():", "if True:"),
    Mutation(
        5,
        "test_05",
        f"{WORKER}/service/desk.py",
        "return now_s - moved_s <= self.allowance_s",
        "return True",
    ),
    Mutation(
        6,
        "test_channel_whose_connection_was_dropped",
        "common/sigmafarm_common/transport.py",
        "if connection is None or connection.client is None:",
        "if False:",
        place="tests/common/test_transport.py",
    ),
    Mutation(
        6,
        "test_06",
        "common/sigmafarm_common/celery_app.py",
        "broker_connection_max_retries=None,",
        "broker_connection_retry=False,",
    ),
    Mutation(
        7,
        "test_07",
        "common/sigmafarm_common/keeper.py",
        "return self._judge_from_s is not None and",
        "return True or",
    ),
    Mutation(
        8,
        "test_08",
        "common/sigmafarm_common/redis_pool.py",
        '"socket_timeout": timeout_s,',
        '"socket_timeout": None,',
    ),
    Mutation(9, "test_09", *UNCLAIMED),
    Mutation(
        10,
        "test_10_full",
        "common/sigmafarm_common/celery_app.py",
        "broker_channel_error_retry=True",
        "broker_channel_error_retry=False",
    ),
    Mutation(
        10, "test_10_server", "common/sigmafarm_common/store/redis/safety.py", "finding.grade is Grade.FAIL", "False"
    ),
    Mutation(11, "test_11", f"{WORKER}/service/process.py", "        self._desk.hand_back()\n", ""),
    Mutation(
        12,
        "test_12_duplicate",
        f"{LUA}/claim.lua",
        "if j.state ~= 'queued' then return {'duplicate'} end\n"
        "if redis.call('ZREM', dispatched_key(j.model), id) == 0 then return {'not dispatched'} end",
        "",
    ),
    Mutation(
        12,
        "test_12_rubbish",
        "common/sigmafarm_common/transport.py",
        "except (ValueError, KeyError, TypeError) as error:",
        "except ZeroDivisionError as error:",
    ),
    Mutation(13, "test_13", f"{LUA}/begin_batch.lua", "if key ~= '' then", "if false then"),
    Mutation(14, "test_14", *UNCLAIMED),
    Mutation(
        15,
        "test_15",
        "common/sigmafarm_common/store/values.py",
        "return max(1, min(LOSSES_TO_BE_ALONE, max_losses - 1))",
        "return 1000",
    ),
    Mutation(16, "test_16", *KEPT),
    Mutation(17, "test_17", *PATIENCE),
    Mutation(
        18,
        "test_18_cancelled",
        f"{WORKER}/service/desk.py",
        "            if self.drop(tried, Outcome(reason)):\n",
        "            if False:\n",
    ),
    Mutation(
        19,
        "test_19_urgent",
        f"{LUA}/dispatch.lua",
        "redis.call('ZRANGE', ns .. 'queue:' .. model, 0, 0)[1]",
        "redis.call('ZRANGE', ns .. 'queue:' .. model, -1, -1)[1]",
    ),
    Mutation(
        19,
        "test_19_flood",
        f"{LUA}/dispatch.lua",
        "redis.call('ZINCRBY', key, cost, member)",
        "return",
    ),
    Mutation(
        20,
        "test_20",
        "common/sigmafarm_common/store/redis/scripts.py",
        "now_ms = self.now_ms() if self.now_ms else 0",
        "now_ms = self.now_ms() if self.now_ms else round(__import__('time').time() * 1000)",
        timeout_s=240,
    ),
    Mutation(
        21,
        "test_21_job",
        f"{WORKER}/service/render.py",
        "        except SigmafarmError as error:\n            self._end_try(held, error)\n",
        "        except SigmafarmError:\n            raise\n",
    ),
    Mutation(
        21,
        "test_21_models",
        f"{WORKER}/__main__.py",
        "return error.exit_code",
        "return 0",
    ),
    Mutation(
        21,
        "test_21_corrupted",
        "common/sigmafarm_common/check/checker.py",
        "if found and self._is_deep else None",
        "if False else None",
    ),
    Mutation(22, "test_22", *UNCLAIMED, timeout_s=600),
    Mutation(
        23,
        "test_23_running",
        f"{WORKER}/service/desk.py",
        "self._jobs.pop(held.claim.tried, None)",
        "[self._jobs.pop(tried) for tried in list(self._jobs) if tried.job_id == held.claim.job_id]",
    ),
    Mutation(23, "test_23_cancel_and_pause", f"{WORKER}/service/poller.py", "self._desk.drop_all(", "_ = ("),
    Mutation(
        24,
        "test_24",
        f"{LUA}/_prelude.lua",
        "j.fence .. '-' .. j.token == fence then",
        "j.fence == string.match(fence, '^%d+') then",
    ),
    Mutation(
        24,
        "test_24",
        "common/sigmafarm_common/picture_keys.py",
        "-f{tried.fence}.{file_format.value}",
        "-f{tried.fence.number}.{file_format.value}",
    ),
    Mutation(25, "test_25_storage", *KEPT),
    Mutation(26, "test_26_finish", *PATIENCE),
    Mutation(
        26,
        "test_26_api",
        "common/sigmafarm_common/store/redis/redis_errors.py",
        "    return StoreUnavailable(UNKNOWN.format(said))",
        "    raise error",
    ),
    Mutation(
        27,
        "test_27_clients",
        "producer/sigmafarm/http/fronts/lobby.py",
        "self._timers[batch_id] = loop.call_later(grace_s, self._time_is_over, batch_id, seat.id)",
        "loop.call_later(grace_s, self._site.store.cancel_batch, batch_id)",
    ),
    Mutation(
        28,
        "test_28",
        "common/sigmafarm_common/concluder.py",
        "self._store.plan_sweep(batch_id, self._sweep_after_s)",
        "pass",
    ),
    Mutation(
        29,
        "test_29",
        f"{WORKER}/service/render.py",
        "except EngineStopped as error:",
        "except ZeroDivisionError as error:",
    ),
)


def is_noticed(mutation: Mutation) -> bool:
    """Run a mutation's test on a copy with the mechanism off, and return whether it failed."""
    with tempfile.TemporaryDirectory(prefix="mutation-") as place:
        copy = Path(place)
        for part in PARTS:
            source = ROOT / part
            if source.is_dir():
                shutil.copytree(source, copy / part, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
            else:
                shutil.copy(source, copy / part)
        spoil(copy / mutation.file, mutation)
        command = [sys.executable, "-m", "pytest", "-m", "", "-x", mutation.place, "-k", mutation.test]
        path = os.pathsep.join(str(copy / p) for p in ("common", "producer", "worker"))
        done = subprocess.run(
            [*command, "--timeout", str(mutation.timeout_s), "-p", "no:cacheprovider", "--tb=line"],
            cwd=copy,
            env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        print(
            "   ",
            *[line for line in done.stdout.splitlines() if line.startswith(("E ", "FAILED", "/"))][:2],
            sep="\n    ",
        )
        assert done.returncode in (0, 1), done.stdout + done.stderr
        return done.returncode == 1


def spoil(file: Path, mutation: Mutation) -> None:
    text = file.read_text()
    assert text.count(mutation.old) >= 1, f"{mutation.file} has no {mutation.old!r} any more: mend the mutation"
    file.write_text(text.replace(mutation.old, mutation.new, 1))


def main() -> int:
    rows = {int(a) for a in sys.argv[1:]}
    missed = 0
    for mutation in MUTATIONS:
        if rows and mutation.row not in rows:
            continue
        noticed = is_noticed(mutation)
        missed += not noticed
        what = "noticed" if noticed else "NOT NOTICED"
        print(f"row {mutation.row}: {what}: {mutation.test} without {mutation.old.strip()!r}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
