"""Everything that the doctor looks at, in the order of a job's way: records, objects, models, workers."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError

from sigmafarm_common.clock import Clock, SystemClock
from sigmafarm_common.config import Config
from sigmafarm_common.doctor.model_folders import model_findings
from sigmafarm_common.errors import SigmafarmError
from sigmafarm_common.finding import Finding, fail, ok, warn
from sigmafarm_common.model_folder import bundled_spec
from sigmafarm_common.models_file import read_models_file
from sigmafarm_common.namesakes import find_namesakes
from sigmafarm_common.objects.protocol import HasClock, ObjectStore
from sigmafarm_common.records import WorkerInfo
from sigmafarm_common.store.redis.redis_errors import translated
from sigmafarm_common.store.redis.server_findings import durability_findings, read_server, server_findings
from sigmafarm_common.store.redis_store import RedisStore
from sigmafarm_common.store.refusals import newer_records
from sigmafarm_common.store.values import SCHEMA_VERSION
from sigmafarm_common.wording import numbered

#: Round trips that are timed; the middle one counts.
NUM_PINGS = 5
#: A middle round trip above this slows every claim and renewal.
SLOW_S = 0.05
#: Rounds and seconds after which the keeper's last whole round is old.
OLD_ROUNDS, OLD_ROUND_S = 20, 15.0
#: The cure for a round of which a part fails again and again.
MEND = "`sigmafarm check` names the records that were spoiled"
#: What is said of a server that can tell what is on its disk, where submits wait for that.
DURABLE = "with SIGMAFARM_DURABLE_SUBMIT as here, a submit is answered once it is on Redis' disk: none of those is lost"
#: A difference of clocks below this disturbs nobody.
SKEW_S = 1.0
#: The same for an object store, which tells its time in whole seconds; and from where on S3 refuses what is signed.
OBJECTS_SKEW_S, REFUSED_SKEW_S = 5.0, 900


def examine(
    config: Config,
    open_store: Callable[[], RedisStore],
    open_objects: Callable[[], ObjectStore],
    *,
    bundled: Path | None,
    clock: Clock | None = None,
) -> Iterator[Finding]:
    """Yield the findings, each as soon as it is known. Raises nothing: what does not answer is a finding too.

    `bundled` is the folder of the model that is served where the settings name no models file.
    """
    yield from _redis(config, open_store, clock or SystemClock())
    yield from _objects(config, open_objects)
    yield from _models(config, bundled)


def _redis(config: Config, open_store: Callable[[], RedisStore], clock: Clock) -> Iterator[Finding]:
    try:
        store = open_store()
        yield from _trip_and_clock(store.client, clock)
        facts = read_server(store.client)
        yield from server_findings(facts)
        if config.durable_submit:
            yield from list(durability_findings(facts)) or [ok("Redis durability", DURABLE)]
        yield from _farm(config, store)
    except (RedisError, UnicodeDecodeError) as error:
        yield fail("Redis", str(translated(error)))
    except SigmafarmError as error:
        yield fail("Redis", str(error))


def _trip_and_clock(client: Any, clock: Clock) -> Iterator[Finding]:
    client.ping()  # the connection itself is not timed
    trips = [_time_call(client.ping, clock) for _ in range(NUM_PINGS)]
    trip_s = statistics.median(trips)
    if trip_s > SLOW_S:
        yield warn("Redis round trip", f"{trip_s * 1000:.1f} ms: run workers and API nearer to it")
    else:
        yield ok("Redis round trip", f"{trip_s * 1000:.1f} ms")
    before_s = clock.wall_s()
    seconds, micros = client.time()
    skew_s = seconds + micros / 1e6 - (before_s + clock.wall_s()) / 2
    if abs(skew_s) > SKEW_S:
        word = "ahead of" if skew_s > 0 else "behind"
        yield warn(
            "clock", f"Redis is {abs(skew_s):.1f} s {word} this machine: leases do not mind, logs do; run NTP on both"
        )
    else:
        yield ok("clock", f"Redis and this machine are {abs(skew_s):.3f} s apart")


def _time_call(call: Callable[[], object], clock: Clock) -> float:
    start_s = clock.monotonic_s()
    call()
    return clock.monotonic_s() - start_s


def _farm(config: Config, store: RedisStore) -> Iterator[Finding]:
    yield _records(store.records_version())
    workers = store.workers()
    yield _workers(workers)
    for namesakes in find_namesakes(workers):
        yield fail(f"model {namesakes.model}", str(namesakes))
    for worker in workers:
        for model, why in worker.broken.items():
            yield fail(f"model {model}", f"worker {worker.id} serves without it: {why}")
    served = {model for worker in workers for model in worker.models}
    taken = {model for worker in workers if worker.takes_jobs for model in worker.models}
    for queue in store.queues():
        num_waiting = sum(queue.waiting.values()) + queue.dispatched
        if num_waiting and queue.model not in served:
            said = f"{_waiting(num_waiting)} for {queue.model}, which no worker serves"
            yield warn(f"queue {queue.model}", f"{said}: name it in the models file of a worker")
        elif num_waiting and queue.model not in taken:
            said = f"{_waiting(num_waiting)} for {queue.model}, and no worker that has it takes jobs"
            yield warn(f"queue {queue.model}", f"{said}: `sigmafarm workers` tells why")
    yield _keeper(config, store)


def _waiting(num_jobs: int) -> str:
    return f"{numbered(num_jobs, 'job')} {'waits' if num_jobs == 1 else 'wait'}"


def _records(version: int) -> Finding:
    if version > SCHEMA_VERSION:
        return fail("records", str(newer_records(version)))
    return ok("records", f"of version {version}" if version else f"none yet; this program writes {SCHEMA_VERSION}")


def _keeper(config: Config, store: RedisStore) -> Finding:
    leader = store.client.get(f"{config.namespace}:keeper")
    if not leader:
        return warn("keeper", "no keeper leads, so nothing is dispatched: start `sigmafarm worker` or `sigmafarm up`")
    rounds, now_ms = store.rounds(), store.now_ms()
    since_s = (now_ms - rounds.good_ms) / 1000
    last = f"its last whole round was {since_s:.0f} s ago" if rounds.good_ms else "it has not ended a whole round yet"
    if rounds.failed_ms > rounds.good_ms:
        return warn("keeper", f"{leader} leads, and parts of its rounds fail ({rounds.error}); {last}: {MEND}")
    if rounds.good_ms and since_s > max(OLD_ROUNDS * config.tick_s, OLD_ROUND_S):
        return warn("keeper", f"{leader} leads, and {last}: look at its log, is its machine or Redis overloaded?")
    return ok("keeper", f"{leader} leads; {last}")


def _workers(workers: list[WorkerInfo]) -> Finding:
    if not workers:
        return warn("workers", "no worker lives: start one with `sigmafarm worker` or `sigmafarm up`")
    if ill := [worker for worker in workers if worker.failing]:
        said = f"{len(ill)} of {len(workers)} take no jobs; {ill[0].id}: {ill[0].failing}"
        return (warn if len(ill) < len(workers) else fail)("workers", said)
    if all(worker.is_draining for worker in workers):
        said = f"{len(workers)} seen, all of them drained or ending"
        return warn(
            "workers", f"{said}: `sigmafarm undrain {workers[0].id}` ends the one, `sigmafarm worker` starts one"
        )
    return ok("workers", f"{len(workers)} seen: {', '.join(f'{w.id} on {w.device}' for w in workers)}")


def _objects(config: Config, open_objects: Callable[[], ObjectStore]) -> Iterator[Finding]:
    try:
        objects = open_objects()
        objects.check()
        ahead_s = objects.clock_ahead_s() if isinstance(objects, HasClock) else None
    except SigmafarmError as error:
        yield fail("object store", str(error))
        return
    yield ok("object store", f"{config.objects_place} can be written, read and cleared")
    if ahead_s is not None:
        yield _objects_clock(ahead_s)


def _objects_clock(ahead_s: float) -> Finding:
    apart_s, word = abs(ahead_s), "ahead of" if ahead_s > 0 else "behind"
    if apart_s <= OBJECTS_SKEW_S:
        return ok("object store's clock", f"within {OBJECTS_SKEW_S:g} s of this machine's")
    return warn(
        "object store's clock",
        f"the object store is {apart_s:.0f} s {word} this machine: from {REFUSED_SKEW_S} s on it refuses everything "
        "(RequestTimeTooSkewed), and links end early or late; run NTP on both",
    )


def _models(config: Config, bundled: Path | None) -> Iterator[Finding]:
    try:
        specs = list(read_models_file(config.models_file).values()) if config.models_file else []
    except SigmafarmError as error:
        yield fail("models file", str(error))
        return
    if config.models_file is not None:
        yield ok("models file", f"{config.models_file} names {', '.join(spec.name for spec in specs)}")
    elif bundled is not None:
        specs = [bundled_spec(bundled)]
    else:
        yield warn(
            "models file", "SIGMAFARM_MODELS_FILE is not set, and no bundled model is here: a worker here needs one"
        )
    for spec in specs:
        yield from model_findings(spec)
