"""TLS on the server that people have with it, Debian's: records, calls and looks into the queue over rediss://."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sigmafarm_common.celery_app import make_app
from sigmafarm_common.config import Config
from sigmafarm_common.errors import StoreUnavailable
from sigmafarm_common.store.redis_store import RedisStore
from tests.common.test_redis_address import called
from tests.ports import free_port
from tests.redis_server import RedisServer, find_server_binary

DEBIAN = "redis-7-debian"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1 that vouches for itself, and its key beside it."""
    folder = tmp_path_factory.mktemp("tls")
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "farm")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, *form))
    return folder


@pytest.fixture
def place(tmp_path: Path, certificate: Path) -> Iterator[str]:
    """Host and port of a server that speaks TLS there."""
    if find_server_binary(DEBIAN) is None:
        pytest.skip(f"{DEBIAN} is not installed here")
    port = str(free_port())
    files = ("--tls-cert-file", str(certificate / "cert.pem"), "--tls-key-file", str(certificate / "key.pem"))
    server = RedisServer(
        tmp_path, server=DEBIAN, options=("--tls-port", port, "--tls-auth-clients", "no", "--requirepass", "p", *files)
    )
    server.start()
    yield f":p@127.0.0.1:{port}"
    server.stop()


@pytest.mark.parametrize("options", ["ssl_ca_certs={ca}", "ssl_cert_reqs=none", "ssl_ca_certs={ca}&db=2"])
def test_records_and_calls_travel_over_tls(place: str, certificate: Path, options: str) -> None:
    config = Config(redis_url=f"rediss://{place}?{options.format(ca=certificate / 'cert.pem')}")

    assert called(config)


def test_a_certificate_that_nobody_vouches_for_is_refused_on_both_ways(place: str) -> None:
    config = Config(redis_url=f"rediss://{place}", redis_timeout_s=1)

    with pytest.raises(StoreUnavailable, match="certificate verify failed"):
        RedisStore(config).batches()
    with pytest.raises(Exception, match="certificate verify failed"):
        make_app(config).connection_for_read().ensure_connection(max_retries=1)


def test_a_file_of_certificates_that_is_missing_is_named(place: str) -> None:
    with pytest.raises(StoreUnavailable, match="No such file"):
        RedisStore(Config(redis_url=f"rediss://{place}?ssl_ca_certs=/nowhere.pem")).batches()
