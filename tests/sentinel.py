"""A primary, its replica and Sentinels that watch them, as real servers on loopback."""

from __future__ import annotations

from pathlib import Path

import redis

from tests.farm_harness import until
from tests.redis_server import RedisServer

#: What the Sentinels call the primary.
NAME = "main"


class SentinelServer(RedisServer):
    """One Sentinel. It writes its own configuration, so that file is all that it is given."""

    def __init__(self, folder: Path, primary_port: int, *, password: str = "", quorum: int = 1, server: str = ""):
        super().__init__(folder, server=server)
        said = [
            f"port {self.port}",
            "bind 127.0.0.1",
            f"dir {folder}",
            f"sentinel monitor {NAME} 127.0.0.1 {primary_port} {quorum}",
            f"sentinel down-after-milliseconds {NAME} 500",
            f"sentinel failover-timeout {NAME} 3000",
            *([f"sentinel auth-pass {NAME} {password}"] if password else []),
        ]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "sentinel.conf").write_text("\n".join(said) + "\n")

    def _arguments(self) -> list[str]:
        return [str(self.folder / "sentinel.conf"), "--sentinel"]


class SentinelTrio:
    """A primary with a replica, and two Sentinels of which one suffices."""

    def __init__(self, folder: Path, *, password: str = "", server: str = ""):
        words = ("--requirepass", password, "--masterauth", password) if password else ()
        self.primary = RedisServer(folder / "primary", has_aof=True, options=words, server=server)
        follow = ("--replicaof", "127.0.0.1", str(self.primary.port), *words)
        self.replica = RedisServer(folder / "replica", has_aof=True, options=follow, server=server)
        self.sentinels = [
            SentinelServer(folder / f"sentinel-{n}", self.primary.port, password=password, server=server)
            for n in range(2)
        ]
        self._password = password or None

    @property
    def url(self) -> str:
        nodes = ",".join(f"127.0.0.1:{s.port}" for s in self.sentinels)
        word = f":{self._password}@" if self._password else ""
        return f"sentinel://{word}{nodes}/{NAME}"

    def start(self) -> None:
        """Start all, and wait until the Sentinels know of the replica: from then on they can fail over."""
        for server in (self.primary, self.replica, *self.sentinels):
            server.start()
        for sentinel in self.sentinels:
            until(lambda s=sentinel: self.knows_replica(s), "the Sentinel knows a replica that is in step")

    @staticmethod
    def knows_replica(sentinel: RedisServer) -> bool:
        with redis.Redis(port=sentinel.port, decode_responses=True) as client:
            replicas = client.sentinel_slaves(NAME)
        return any(replica["master-link-status"] == "ok" for replica in replicas)

    def is_in_step(self) -> bool:
        """Whether the replica has all that the primary was told."""
        with self.client(self.primary) as client:
            return client.wait(1, 1000) == 1

    def client(self, server: RedisServer) -> redis.Redis:
        return redis.Redis(port=server.port, password=self._password, decode_responses=True)

    def stop(self) -> None:
        for server in (*self.sentinels, self.replica, self.primary):
            server.stop()
