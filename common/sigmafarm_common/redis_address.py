"""A Redis URL, read once. Its parts go to redis-py and to kombu as they are: nobody else takes a URL apart.

    redis://user:password@host:6379/2         one server, database 2; or ?db=2
    rediss://host:6380/0?ssl_ca_certs=ca.pem  with TLS
    unix://user:password@/run/redis.sock?db=2 a socket of this machine
    sentinel://user:password@host1:26379,host2:26379/main?db=2
                                              the primary that Sentinels call `main`; sentinels:// with TLS

User and password are the server's own. Sentinels that ask for one get sentinel_username and sentinel_password.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

#: The schemes: one server, with TLS, a socket, by way of Sentinels, those with TLS.
SCHEMES = ("redis", "rediss", "unix", "sentinel", "sentinels")
#: Ports where none is named.
REDIS_PORT, SENTINEL_PORT = 6379, 26379
#: What may be said of TLS behind the question mark: as redis-py names it.
TLS_OPTIONS = (
    "ssl_ca_certs",
    "ssl_ca_path",
    "ssl_cert_reqs",
    "ssl_certfile",
    "ssl_check_hostname",
    "ssl_keyfile",
    "ssl_password",
)
#: What may be said there of Sentinels.
SENTINEL_OPTIONS = ("master_name", "sentinel_username", "sentinel_password")
#: How an option is said that is true or not.
_TRUTHS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
#: The cure where a character means something else than it was meant to.
ENCODE = (
    "write what is special in a user or password with percent signs (@ as %40, / as %2F, ? as %3F, # as %23, "
    "% as %25, a blank as %20)"
)


@dataclass(frozen=True)
class RedisAddress:
    """Where a Redis is and how one gets in. `str` shows it without secrets."""

    #: Host and port of the server, or of each Sentinel; empty for a socket.
    nodes: tuple[tuple[str, int], ...] = ()
    #: The path of a Unix socket, empty for a server on the network.
    path: str = ""
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    #: What Sentinels call the server, empty for a server that is named itself.
    master_name: str = ""
    #: User and password for the Sentinels themselves.
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    has_tls: bool = False
    #: Options of TLS, as redis-py takes them.
    tls: Mapping[str, str | bool] = field(default_factory=dict[str, str | bool], repr=False)

    def __str__(self) -> str:
        where = self.path or ",".join(f"[{h}]:{p}" if ":" in h else f"{h}:{p}" for h, p in self.nodes)
        return f"{self.master_name} at the Sentinels {where}" if self.master_name else where


def parse_redis_url(url: str) -> RedisAddress:
    """Return the parts of a URL. Raises ValueError with a sentence that begins "must ..." and holds no secret."""
    if re.search(r"[\x00-\x20\x7f]", url):
        raise ValueError(f"must hold no blank and no control character: {ENCODE}")
    scheme, rest = _scheme_of(url)
    parts = _split(scheme, rest)
    options = _options(parts)
    db, path_left = _database(parts, options, scheme)
    has_tls = scheme in ("rediss", "sentinels")
    found = RedisAddress(
        db=db,
        username=_secret(parts.username),
        password=_secret(parts.password),
        has_tls=has_tls,
        tls=_tls(options, has_tls=has_tls),
    )
    if scheme == "unix":
        found = replace(found, path=_socket_path(parts))
    elif scheme in ("sentinel", "sentinels"):
        found = replace(found, nodes=_nodes(parts), **_master(options, path_left))
    else:
        found = replace(found, nodes=(_node(_place(parts), REDIS_PORT),))
    if options:
        raise ValueError(_strange_option(next(iter(options)), scheme))
    return found


def _secret(said: str | None) -> str | None:
    """Return what a user or password means, None for an empty one."""
    try:
        return unquote(said or "", errors="strict") or None
    except UnicodeDecodeError:
        raise ValueError("must write what is special in a user or password as UTF-8 (é as %C3%A9)") from None


def _scheme_of(url: str) -> tuple[str, str]:
    scheme, mark, rest = url.partition("://")
    if not mark or scheme.lower() not in SCHEMES:
        raise ValueError(
            "must begin with redis://, rediss:// (TLS), unix:///path/to/socket or "
            "sentinel://host:26379,host:26379/name-of-the-primary"
        )
    return scheme.lower(), rest


def _split(scheme: str, rest: str) -> SplitResult:
    if scheme in ("sentinel", "sentinels"):
        rest = rest.replace(f";{scheme}://", ",").replace(";", ",")  # kombu's way of naming several
    mixed_up = ValueError(f"must be a URL whose parts can be told apart: {ENCODE}")
    try:
        parts = urlsplit(f"//{rest}")
    except ValueError:  # a bracket without its fellow, or a letter that looks like a slash
        raise mixed_up from None
    if parts.fragment or "@" in parts.query or ("@" in parts.path and scheme != "unix"):
        raise mixed_up
    return parts


def _options(parts: SplitResult) -> dict[str, str]:
    said = parse_qsl(parts.query, keep_blank_values=True)
    options = dict(said)
    if len(options) < len(said):
        raise ValueError("must say each option behind its question mark once")
    return options


def _database(parts: SplitResult, options: dict[str, str], scheme: str) -> tuple[int, str]:
    """Take the database out of the options or the path; return it with what the path says beside it."""
    path = "" if scheme == "unix" else unquote(parts.path).strip("/")
    left, _, last = path.rpartition("/")
    if scheme in ("redis", "rediss"):
        left, last = "", path
    elif not last.isascii() or not last.isdigit():
        left, last = path, ""
    said = [text for text in (last, options.pop("db", "")) if text]
    if any(not (text.isascii() and text.isdigit()) or len(text) > 6 for text in said):
        raise ValueError("must name its database as a number, as in /2 or ?db=2")
    numbers = {int(text) for text in said}
    if len(numbers) > 1:
        raise ValueError(f"must name one database: it names {' and '.join(map(str, sorted(numbers)))}")
    return (numbers or {0}).pop(), left


def _socket_path(parts: SplitResult) -> str:
    if "@" in parts.path and not parts.netloc:
        # unix:///run/a@b.sock is a path; unix://:pa/ss@/run/x.sock is a password with a slash, and has a place in front
        return unquote(parts.path)
    if _place(parts) or not parts.path.startswith("/"):
        raise ValueError("must hold an absolute path, as in unix:///path/to/socket or unix://:password@/path/to/socket")
    return unquote(parts.path)


def _place(parts: SplitResult) -> str:
    """Return what stands behind the user and password."""
    return parts.netloc.rpartition("@")[2]


def _nodes(parts: SplitResult) -> tuple[tuple[str, int], ...]:
    if "," in parts.netloc.rpartition("@")[0]:
        # One server's password with a comma in it, or a user and password before each Sentinel: nobody can tell.
        raise ValueError(
            "must name user and password once, before the first Sentinel, and write a comma in them as %2C, as in "
            "sentinel://user:password@host1:26379,host2:26379/name"
        )
    return tuple(_node(place, SENTINEL_PORT) for place in _place(parts).split(","))


def _node(place: str, default_port: int) -> tuple[str, int]:
    if "," in place or ";" in place:
        raise ValueError("must name one server; several Sentinels are sentinel://host1:26379,host2:26379/name")
    if place.count(":") > 1 and not place.startswith("["):
        raise ValueError("must name its port once, and an address of IPv6 in brackets, as in redis://[::1]:6379/0")
    try:
        parts = urlsplit(f"//{place}")
        host, port = unquote(parts.hostname or ""), parts.port
    except ValueError:
        raise ValueError(f"must name its port as a number from 1 to 65535, and a password in whole: {ENCODE}") from None
    if not host:
        raise ValueError("must name a host, as in redis://localhost:6379/0")
    if port == 0:
        raise ValueError("must name a port from 1 to 65535")
    return host, port or default_port


def _master(options: dict[str, str], path: str) -> dict[str, str | None]:
    name = options.pop("master_name", "") or path
    if not name:
        raise ValueError("must say what the Sentinels call the primary, as in sentinel://host:26379/mymaster")
    if path and path != name:
        raise ValueError(f"must name one primary: it names {path} and {name}")
    return {"master_name": name, **{n: options.pop(n, "") or None for n in SENTINEL_OPTIONS[1:]}}


def _tls(options: dict[str, str], *, has_tls: bool) -> dict[str, str | bool]:
    said: dict[str, str | bool] = {name: options.pop(name) for name in TLS_OPTIONS if name in options}
    if said and not has_tls:
        raise ValueError(f"must begin with rediss:// (or sentinels://) where it says {next(iter(said))}")
    if (needs := said.get("ssl_cert_reqs")) is not None:
        said["ssl_cert_reqs"] = str(needs).lower().removeprefix("cert_")
        if said["ssl_cert_reqs"] not in ("none", "optional", "required"):
            raise ValueError("must say required, optional or none as ssl_cert_reqs")
    if (checks := said.get("ssl_check_hostname")) is not None:
        if str(checks).lower() not in _TRUTHS:
            raise ValueError("must say true or false as ssl_check_hostname")
        said["ssl_check_hostname"] = _TRUTHS[str(checks).lower()]
    return said


def _strange_option(name: str, scheme: str) -> str:
    if name in ("username", "password"):
        return f"must name user and password in front of the host, as in {scheme}://user:password@host"
    if name.startswith("socket_") or name == "health_check_interval":
        return f"must leave out {name}: SIGMAFARM_REDIS_TIMEOUT_S bounds every call"
    known = ["db", *TLS_OPTIONS, *SENTINEL_OPTIONS]
    return f"must say nothing behind its question mark but {', '.join(known)}: {name[:40]} is none of them"
