"""A Redis URL is read once: what each form means, what is refused, and that records and calls meet at one place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import redis

from sigmafarm_common.celery_app import make_app, publisher, queue_name
from sigmafarm_common.config import Config
from sigmafarm_common.errors import AccessDenied, InvalidSettings
from sigmafarm_common.redis_address import RedisAddress, parse_redis_url
from sigmafarm_common.store.redis_store import RedisStore
from sigmafarm_common.store.values import Dispatched
from tests.common.store_contract import dispatch, submit
from tests.limits import LIMIT_S
from tests.redis_server import RedisServer

#: A password of all that means something else in a URL.
PASSWORD = "p@s/s:w?o#r%d &+[é"
ENCODED = quote(PASSWORD, safe="")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://host", RedisAddress((("host", 6379),))),
        ("redis://host:6380/2", RedisAddress((("host", 6380),), db=2)),
        ("redis://host/?db=3", RedisAddress((("host", 6379),), db=3)),
        ("redis://host/3?db=3", RedisAddress((("host", 6379),), db=3)),
        ("REDIS://host/1/", RedisAddress((("host", 6379),), db=1)),
        ("redis://[::1]:7000/0", RedisAddress((("::1", 7000),))),
        ("redis://:pw@host", RedisAddress((("host", 6379),), password="pw")),
        ("redis://ann@host", RedisAddress((("host", 6379),), username="ann")),
        ("redis://ann:a:b@c@host", RedisAddress((("host", 6379),), username="ann", password="a:b@c")),
        (f"redis://ann:{ENCODED}@host", RedisAddress((("host", 6379),), username="ann", password=PASSWORD)),
        ("unix:///run/a.sock", RedisAddress(path="/run/a.sock")),
        ("unix:///run/my%20farm/a.sock?db=2", RedisAddress(path="/run/my farm/a.sock", db=2)),
        ("unix://:pw@/run/a.sock?db=2", RedisAddress(path="/run/a.sock", db=2, password="pw")),
        ("unix:///run/a@b.sock", RedisAddress(path="/run/a@b.sock")),
        ("rediss://host:6380/0", RedisAddress((("host", 6380),), has_tls=True)),
        (
            "rediss://host?ssl_cert_reqs=CERT_NONE&ssl_check_hostname=false",
            RedisAddress((("host", 6379),), has_tls=True, tls={"ssl_cert_reqs": "none", "ssl_check_hostname": False}),
        ),
        ("sentinel://host/main", RedisAddress((("host", 26379),), master_name="main")),
        (
            "sentinel://u:p@a:1,b,[::1]:3/main/2",
            RedisAddress((("a", 1), ("b", 26379), ("::1", 3)), db=2, username="u", password="p", master_name="main"),
        ),
        ("sentinel://a;sentinel://b:2/main", RedisAddress((("a", 26379), ("b", 2)), master_name="main")),
        ("sentinel://a/2?master_name=main", RedisAddress((("a", 26379),), db=2, master_name="main")),
        (
            "sentinels://a/main?db=1&sentinel_username=s&sentinel_password=t",
            RedisAddress(
                (("a", 26379),),
                db=1,
                master_name="main",
                has_tls=True,
                sentinel_username="s",
                sentinel_password="t",
            ),
        ),
    ],
)
def test_each_form_of_a_url_has_one_meaning(url: str, expected: RedisAddress) -> None:
    assert parse_redis_url(url) == expected


@pytest.mark.parametrize(
    ("url", "cure"),
    [
        ("http://host", "must begin with redis://"),
        ("redis:/host", "must begin with redis://"),
        ("redis://", "must name a host"),
        ("redis://:hush@", "must name a host"),
        ("redis://host:many", "must name its port as a number"),
        ("redis://::1:6379/0", "must name its port once, and an address of IPv6 in brackets"),
        ("redis://host:6379:6380", "must name its port once"),
        ("redis://:hush%E9@host", "must write what is special in a user or password as UTF-8"),
        ("sentinel://u:hush@h1,u:hush@h2/m", "must name user and password once, before the first Sentinel"),
        ("rediss://host?ssl_check_hostname=maybe", "must say true or false as ssl_check_hostname"),
        ("redis://host:99999", "from 1 to 65535"),
        ("redis://host:0", "from 1 to 65535"),
        ("redis://host/farm", "must name its database as a number"),
        ("redis://host/-1", "must name its database as a number"),
        ("redis://host/1?db=2", "must name one database: it names 1 and 2"),
        ("redis://host?db=1&db=2", "must say each option"),
        ("redis://a,b/0", "several Sentinels are sentinel://"),
        ("redis://:hu/sh@host", "percent signs"),
        ("redis://:hu#sh@host", "percent signs"),
        ("redis://:hu?sh@host", "percent signs"),
        ("redis://:hu[sh@host", "percent signs"),
        ("redis://:hu sh@host", "a blank as %20"),
        ("redis://:hu\nsh@host", "no control character"),
        ("unix://:hu/sh@/run/a.sock", "must hold an absolute path"),
        ("unix://run/a.sock", "must hold an absolute path"),
        ("redis://host?ssl_ca_certs=ca.pem", "must begin with rediss://"),
        ("rediss://host?ssl_cert_reqs=maybe", "required, optional or none"),
        ("redis://host?socket_timeout=3", "SIGMAFARM_REDIS_TIMEOUT_S"),
        ("redis://host?password=hush", "in front of the host"),
        ("redis://host?colour=red", "colour is none of them"),
        ("redis://host?master_name=main", "master_name is none of them"),
        ("sentinel://host", "what the Sentinels call the primary"),
        ("sentinel://host/2", "what the Sentinels call the primary"),
        ("sentinel://host/one?master_name=two", "must name one primary"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_cure_and_without_the_password(url: str, cure: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        Config(redis_url=url)

    assert cure in str(caught.value)
    assert "hu" not in str(caught.value).replace("must", "")
    assert "sh@" not in str(caught.value)


def test_no_secret_shows_in_the_parts() -> None:
    address = parse_redis_url("sentinels://u:hush@a/main?sentinel_password=hush&ssl_password=hush")

    assert "hush" not in f"{address!r} {address}"
    assert "hush" not in str(
        [s.value for s in Config(redis_url="sentinel://u:hush@a/m?sentinel_password=hush").sources()]
    )


# -- on real servers: the records, the keeper's calls and the worker's look into the queue meet at one place


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server with a password, a user, a socket, and loopback of both families."""
    folder = tmp_path_factory.mktemp("forms")
    options = ("--unixsocket", str(folder / "my farm.sock"), "--bind", "127.0.0.1", "::1", "--requirepass", PASSWORD)
    server = RedisServer(folder, options=options)
    server.start()
    with redis.Redis(port=server.port, password=PASSWORD) as admin:
        admin.execute_command("ACL", "SETUSER", "ann/b", "on", f">{PASSWORD}", "~*", "&*", "+@all")
    yield server
    server.stop()


FORMS = [
    "redis://:{pw}@127.0.0.1:{port}",
    "redis://:{pw}@127.0.0.1:{port}/3",
    "redis://:{pw}@127.0.0.1:{port}?db=3",
    "redis://:{pw}@[::1]:{port}/3",
    "redis://{user}:{pw}@127.0.0.1:{port}/3",
    "unix://:{pw}@{socket}",
    "unix://:{pw}@{socket}?db=2",
    "unix://{user}:{pw}@{socket}?db=2",
]


def written(server: RedisServer, form: str, password: str = ENCODED) -> str:
    socket = quote(str(server.folder / "my farm.sock"))
    return form.format(pw=password, user=quote("ann/b", safe=""), port=server.port, socket=socket)


@pytest.mark.parametrize("namespace", ["sigmafarm", "two"])
@pytest.mark.parametrize("form", FORMS)
def test_records_and_calls_of_every_form_meet_at_one_place(server: RedisServer, form: str, namespace: str) -> None:
    config = Config(redis_url=written(server, form), namespace=namespace)
    db = config.redis_address().db
    with redis.Redis(port=server.port, password=PASSWORD) as admin:
        admin.flushall()

    (job_id,) = called(config)

    with redis.Redis(port=server.port, password=PASSWORD) as admin:
        assert [int(name.removeprefix("db")) for name in admin.info("keyspace")] == [db]
    assert job_id.endswith("-000000")


def test_a_socket_without_a_password_needs_none(tmp_path: Path) -> None:
    server = RedisServer(tmp_path, options=("--unixsocket", str(tmp_path / "s")))
    server.start()
    try:
        assert called(Config(redis_url=f"unix://{tmp_path}/s?db=1"))
    finally:
        server.stop()


def called(config: Config) -> list[str]:
    """Submit a job, have it called, take the call out of the queue as a worker does, and return its job ids."""
    store, app = RedisStore(config), make_app(config)
    submit(store)
    dispatched = dispatch(store, slots=1)
    publisher(app)([Dispatched(job_id, "m") for job_id in dispatched])
    received: list[Any] = []
    with app.connection_for_read() as connection, connection.SimpleQueue(queue_name("m")) as queue:
        message = queue.get(timeout=LIMIT_S)
        received += message.payload[0]
        message.ack()
    return received


@pytest.mark.parametrize("form", FORMS)
def test_a_wrong_password_is_refused_to_the_records_the_keeper_and_the_worker(server: RedisServer, form: str) -> None:
    config = Config(redis_url=written(server, form, "hush"), redis_timeout_s=1)

    for ask in (
        RedisStore(config).batches,
        lambda: publisher(make_app(config))([Dispatched("x-000000", "m")]),
        lambda: make_app(config).connection_for_read().ensure_connection(max_retries=1),
    ):
        with pytest.raises(AccessDenied, match="check user and password") as caught:
            ask()
        assert "hush" not in str(caught.value)
