"""Whether a Redis keeps what it is given: its version and role, what it does when it is full, what survives a crash."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from redis.exceptions import NoPermissionError, ResponseError

from sigmafarm_common.finding import Finding, Grade, fail, ok, warn
from sigmafarm_common.store.values import Memory

#: The oldest server whose commands suffice, and the oldest that somebody may still mend.
OLDEST_VERSION, MENDED_VERSION = (6, 2), (7, 0)
#: The first with WAITAOF. Valkey says which Redis it stands in for.
WAITAOF_VERSION = (7, 2)
#: The first Redis whose WAITAOF is taken at its word under `appendfsync everysec`.
SOUND_VERSION = (8, 0)
#: The share of its memory that a server may use before it is called nearly full.
NEARLY_FULL = 0.8
#: The share of the machine's memory that a server without a bound may use.
MUCH_OF_MACHINE = 0.5


@dataclass(frozen=True)
class ServerFacts:
    """What a server says of itself; managed servers and users with few rights hide some of it."""

    #: The answer to INFO, by name.
    info: Mapping[str, Any]
    #: `save` and `appendfsync` as CONFIG GET says them; a name that could not be asked for is not there.
    settings: Mapping[str, str]


def read_server(client: Any) -> ServerFacts:
    """Ask a server about itself. Raises what redis-py raises when it does not answer."""
    try:
        info = client.info()
    except NoPermissionError:
        info = {}
    settings: dict[str, str] = {}
    for name in ("maxmemory-policy", "save", "appendfsync"):
        try:
            settings.update(client.config_get(name))
        except ResponseError:  # a managed server, or a user without CONFIG
            break
    return ServerFacts(info, settings)


def read_memory(client: Any) -> Memory:
    """Ask a server how full it is. Raises what redis-py raises when it does not answer."""
    try:
        info = client.info("memory")
    except NoPermissionError:
        return Memory()
    limit = info.get("maxmemory") or info.get("total_system_memory") or 0
    return Memory(int(info.get("used_memory") or 0), int(limit))


def server_findings(facts: ServerFacts) -> Iterator[Finding]:
    """Yield what is to be said of a server."""
    yield from _version(facts.info)
    yield from _role(facts.info)
    yield from _kind(facts.info)
    yield from _eviction(facts)
    if "used_memory" in facts.info:
        yield _memory(facts.info)
    yield _persistence(facts)


def unsafe_findings(facts: ServerFacts) -> Iterator[Finding]:
    """Yield the failures that make a server unfit for good: too old, no single server, or one that drops jobs. A
    replica is none of them: it may be the primary a moment later."""
    found = [*_version(facts.info), *_kind(facts.info), *_eviction(facts)]
    yield from (finding for finding in found if finding.grade is Grade.FAIL)


def durability_findings(facts: ServerFacts) -> Iterator[Finding]:
    """Yield why a server cannot say of what it was given that it is on its disk, where that is asked of it."""
    said, cure = str(facts.info.get("redis_version", "")), "or unset SIGMAFARM_DURABLE_SUBMIT"
    if said and _numbers(said) < WAITAOF_VERSION:
        yield fail(
            "Redis durability", f"Redis {said} cannot tell what is on its disk: update it to 7.2 or Valkey, {cure}"
        )
    if facts.info.get("aof_enabled") == 0:
        yield fail("Redis durability", f"Redis has no append-only file: set appendonly yes, {cure}")
    if facts.settings.get("appendfsync") == "no":
        yield fail("Redis durability", f"appendfsync is no: set it to everysec or always, {cure}")


def answers_too_soon(facts: ServerFacts) -> bool:
    """Whether a server's WAITAOF may answer before the disk has what it says: see disk_watch.py. So may one that hides
    its version."""
    if facts.settings.get("appendfsync") == "always":
        return False
    return "valkey_version" in facts.info or _numbers(str(facts.info.get("redis_version", ""))) < SOUND_VERSION


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())


def _version(info: Mapping[str, Any]) -> Iterator[Finding]:
    said = str(info.get("redis_version", ""))
    # Valkey says which Redis it stands in for, and its own version beside it.
    name = f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {said}"
    if not said:
        yield warn("Redis version", "the server tells nothing about itself: let its user run INFO")
        return
    version = _numbers(said)
    if version < OLDEST_VERSION:
        yield fail("Redis version", f"{name} is too old: the farm needs 6.2 or later; 7 or Valkey is better")
    elif version < MENDED_VERSION:
        yield warn("Redis version", f"{name} works, and gets no more repairs from its makers: update it to 7")
    else:
        yield ok("Redis version", name)


def _role(info: Mapping[str, Any]) -> Iterator[Finding]:
    if info.get("role") == "slave":
        primary = f"{info.get('master_host', '?')}:{info.get('master_port', '?')}"
        yield fail(
            "Redis role",
            f"this Redis is a replica and takes no writes: name its primary, {primary}, in SIGMAFARM_REDIS_URL",
        )


def _kind(info: Mapping[str, Any]) -> Iterator[Finding]:
    if info.get("cluster_enabled"):
        yield fail("Redis role", "this Redis is a Cluster, over which the farm's scripts cannot reach: use one server")
    if "sentinel_masters" in info:
        yield fail(
            "Redis role",
            "this is a Sentinel and holds no data: name it as sentinel://host:26379/name-of-the-primary in "
            "SIGMAFARM_REDIS_URL",
        )


def _eviction(facts: ServerFacts) -> Iterator[Finding]:
    policy = facts.settings.get("maxmemory-policy") or facts.info.get("maxmemory_policy")
    if policy is None:
        yield warn("Redis eviction", "maxmemory-policy cannot be asked for: make sure that it is noeviction")
    elif policy != "noeviction":
        yield fail(
            "Redis eviction",
            f"Redis has maxmemory-policy {policy}: it would drop jobs when it is full; set it to noeviction",
        )
    else:
        yield ok("Redis eviction", "noeviction: a full server refuses submits and drops nothing")


def _memory(info: Mapping[str, Any]) -> Finding:
    used, limit, machine = (int(info.get(n) or 0) for n in ("used_memory", "maxmemory", "total_system_memory"))
    if limit and used > NEARLY_FULL * limit:
        return warn(
            "Redis memory", f"{_mib(used)} of maxmemory {_mib(limit)} are used: raise it, or submits will be refused"
        )
    if limit:
        return ok("Redis memory", f"{_mib(used)} of maxmemory {_mib(limit)} are used")
    if machine and used > MUCH_OF_MACHINE * machine:
        return warn(
            "Redis memory",
            f"{_mib(used)} of the machine's {_mib(machine)} are used, without a bound: set maxmemory, or the system "
            "may end the server",
        )
    return ok("Redis memory", f"{_mib(used)} are used, without a bound (maxmemory 0)")


def _persistence(facts: ServerFacts) -> Finding:
    has_aof, saves = bool(facts.info.get("aof_enabled")), facts.settings.get("save")
    cure = "set appendonly yes and appendfsync everysec"
    if not has_aof and "aof_enabled" not in facts.info:
        return warn("Redis persistence", f"whether Redis writes to disk cannot be asked for: {cure}")
    if not has_aof and saves == "":
        return warn("Redis persistence", f"Redis writes nothing to disk, a restart loses every job: {cure}")
    if not has_aof:
        return warn(
            "Redis persistence",
            f"Redis has no append-only file, a crash loses what came after its last snapshot: {cure}",
        )
    if facts.info.get("aof_last_write_status", "ok") != "ok":
        return warn("Redis persistence", "Redis cannot write its append-only file: free its disk; see its log")
    if facts.settings.get("appendfsync") == "no":
        return warn("Redis persistence", f"appendfsync is no, a crash of the machine may lose half a minute: {cure}")
    always = facts.settings.get("appendfsync") == "always"
    loss = "nothing accepted is lost" if always else "a crash of the machine may lose about a second of submits"
    num_late = int(facts.info.get("aof_delayed_fsync") or 0)
    if num_late and not always:
        loss += f" (two, and a kill of Redis too, while its disk is too slow: {num_late} times since it started)"
    return ok("Redis persistence", f"append-only file; {loss}")


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:.0f} MiB"
