"""Random faults on a farm at work, with a seed that repeats them: `python -m tests.chaos.random_chaos --seconds 60`.

Hundreds of jobs on several simulated workers, a real server and a faulty S3. Once the time is up everything is healed,
the farm comes to its end, and the checker looks at all of it. Every seed draws a mix of faults and users of its own.
The same seed injects the same faults in the same order at the same times; what they hit depends on the machine. Exit
code 0: no violation. What happens stands in randomly/.
"""

from __future__ import annotations

import argparse
import logging
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import boto3
import httpx2

from sigmafarm_common.errors import FarmUnavailable, SigmafarmError
from tests.chaos.proxy import Proxy
from tests.chaos.randomly.faults import Faults
from tests.chaos.randomly.judge import Judge
from tests.chaos.randomly.report import Outcome
from tests.chaos.randomly.stage import Stage
from tests.chaos.randomly.users import Users
from tests.chaos.s3_faults import FaultyS3
from tests.common.s3_servers import KEY_ID, SECRET, moto_server
from tests.redis_server import RedisServer

#: The shortest pause between two faults; the longest is the mix's.
FAULT_PAUSE_S = 0.3


class RandomChaos:
    """One run: a farm, its users, and faults drawn from a seed."""

    def __init__(self, seed: int, stage: Stage):
        self.seed, self.stage = seed, stage
        self.faults, self.users = Faults(stage), Users(stage)
        self.judge = Judge(stage, self.faults, self.users)
        places = (self.faults, self.users)
        self._actions = {name: next(getattr(p, name) for p in places if hasattr(p, name)) for name in stage.mix.weights}

    def run(self, seconds: float) -> Outcome:
        """Do it all, and return what came of it."""
        stage = self.stage
        stage.farm.start_workers(stage.mix.num_workers)
        print(f"the API is at {stage.api.client.base_url}", flush=True)
        end_s = time.monotonic() + seconds
        self.users.start()
        names, weights = zip(*stage.mix.weights.items(), strict=True)
        while time.monotonic() < end_s:
            (name,) = stage.chance.choices(names, weights)
            self._inject(name.replace("_", " "), self._actions[name])
            stage.tend()
            time.sleep(stage.chance.uniform(FAULT_PAUSE_S, stage.mix.fault_pause_s))  # the farm's life between faults
        stage.stop.set()
        self.judge.heal()
        return self.judge.conclude(self.seed, seconds)

    def _inject(self, name: str, action: Callable[[], object]) -> None:
        try:
            if action() is not False:
                self.stage.note(name)
        except FarmUnavailable:
            self.stage.note(f"{name} (refused)")
        except SigmafarmError as error:  # it moved meanwhile, or went with a rollback
            self.stage.note(f"{name} ({error.code})")
        except httpx2.HTTPError as error:
            self.stage.note(f"{name} ({type(error).__name__})")


def run(seconds: float, seed: int) -> Outcome:
    """Run once on servers of its own, print the mix and the table, and return what came of it."""
    print(f"random chaos: seed {seed}, {seconds:g} s (again: --seed {seed})", flush=True)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # moto's line for every request
    logging.getLogger("httpx").setLevel(logging.ERROR)
    os.environ.update({"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET})
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))
        server = RedisServer(folder / "redis", has_aof=True)
        server.start()
        stack.callback(server.stop)
        url = stack.enter_context(moto_server())
        boto3.client("s3", endpoint_url=url, region_name="us-east-1").create_bucket(Bucket="renders")
        s3, proxy = FaultyS3(url, seed=seed), Proxy(server.port, seed=seed)
        stack.callback(s3.close)
        stack.callback(proxy.close)
        stage = Stage(seed, folder, server, proxy, s3)
        stack.callback(stage.farm.close)
        print(stage.mix, flush=True)
        outcome = RandomChaos(seed, stage).run(seconds)
        print(outcome.table(), flush=True)
        return outcome


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.random_chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=None, help="repeats a run (default: a new one, which is printed)")
    parser.add_argument("--out", type=Path, default=None, help="append the outcome to this file, as a line of JSON")
    arguments = parser.parse_args()
    seed = secrets.randbelow(2**31) if arguments.seed is None else arguments.seed
    outcome = run(arguments.seconds, seed)
    if arguments.out is not None:
        with arguments.out.open("a") as file:
            file.write(outcome.line() + "\n")
    return 1 if outcome.violations else 0


if __name__ == "__main__":
    sys.exit(main())
