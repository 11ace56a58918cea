"""The examples of proxies: what nginx and Caddy say of them where they are here, and a farm behind a real nginx."""

from __future__ import annotations

import os
import re
import shutil
import ssl
import subprocess
from pathlib import Path

import httpx2
import pytest
import redis

from sigmafarm import Config, Farm
from sigmafarm.http.routes.events import HEARTBEAT_S
from sigmafarm.http.server import HttpServer
from sigmafarm_common.keys import KeyRecord, Scope
from tests.farm_hand import FarmHand
from tests.limits import LIMIT_S, until
from tests.ports import free_port

FOLDER = Path(__file__).parents[2] / "deploy" / "proxy"
NGINX, CADDY = (FOLDER / "nginx.conf").read_text(), FOLDER / "Caddyfile"


def test_limits_of_the_proxies_fit_those_of_the_api() -> None:
    config, caddy = Config(), CADDY.read_text()
    for waits in re.findall(r"proxy_(?:read|send)_timeout (\d+)s|response_header_timeout (\d+)s", NGINX + caddy):
        assert int("".join(waits)) > config.draw_wait_s > HEARTBEAT_S
    assert f"client_max_body_size {config.max_body_bytes >> 20}m;" in NGINX
    assert f"max_size {config.max_body_bytes >> 20}MiB" in caddy
    assert "proxy_buffering off;" in NGINX
    assert "flush_interval -1" in caddy


def test_caddy_takes_its_file() -> None:
    caddy = shutil.which("caddy")
    if caddy is None:
        pytest.skip("caddy is not here")

    done = subprocess.run([caddy, "adapt", "--validate", "--config", CADDY], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr


@pytest.fixture
def nginx() -> str:
    """The nginx of the PATH, with openssl, which makes its certificate."""
    found = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None or shutil.which("openssl") is None:
        pytest.skip("nginx or openssl is not here")
    return found


def settings_for(folder: Path, upstream: str, port: int) -> Path:
    """Write the example with a certificate, an API and ports of this machine, and what nginx wants around it."""
    key, certificate = folder / "farm.key", folder / "farm.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run([*made, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    text = NGINX.replace("/etc/ssl/farm.example.pem", str(certificate)).replace("/etc/ssl/farm.example.key", str(key))
    text = text.replace("127.0.0.1:8420", upstream).replace("listen 443 ssl", f"listen 127.0.0.1:{port} ssl")
    text = re.sub(r"server {\s+listen 80;.*?\n}", "", text, flags=re.DOTALL)
    places = "\n".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    around = f"pid {folder}/pid; error_log stderr; daemon off; events {{}} http {{ access_log off; {places}\n{text}}}"
    (folder / "nginx.conf").write_text(around)
    return folder / "nginx.conf"


def test_farm_behind_nginx_signs_in_submits_streams_and_hides_its_metrics(
    nginx: str, redis_client: redis.Redis, redis_url: str, tmp_path: Path
) -> None:
    config = Config(redis_url=redis_url, data_dir=tmp_path / "data", http_port=0)
    record, key = KeyRecord.make(name="ann", owner="ann", scopes=frozenset({Scope.ADMIN}), now_ms=1)
    with Farm(config) as farm, HttpServer(config, has_keeper=False) as server:
        hand = FarmHand(farm)
        farm.store.add_key(record)
        port = free_port()
        settings = settings_for(tmp_path, server.url.removeprefix("http://"), port)
        said = subprocess.run([nginx, "-t", "-c", settings], capture_output=True, text=True)
        assert said.returncode == 0, said.stderr
        process = subprocess.Popen([nginx, "-c", settings], stderr=subprocess.DEVNULL)
        context = ssl.create_default_context(cafile=str(tmp_path / "farm.pem"))
        context.check_hostname = False
        try:
            with httpx2.Client(base_url=f"https://localhost:{port}", verify=context, timeout=LIMIT_S) as client:
                until(lambda: answers(client), "nginx answers")
                header = {"Authorization": f"Bearer {key}"}
                made = client.post("/v1/batches", json={"prompts": ["a"]}, headers=header)
                signed_in = client.post("/sign-in", data={"key": key}, headers={"Origin": f"https://localhost:{port}"})
                with client.stream("GET", "/v1/events?after=0", headers=header) as events:
                    first = next(line for line in events.iter_lines() if line.startswith("data:"))
                metrics = client.get("/metrics", headers=header)
        finally:
            process.terminate()
            process.wait(LIMIT_S)
        hand.work_all()

    assert made.status_code == 201, made.text
    assert made.json()["batch"]["id"] in first
    assert "Secure" in signed_in.headers["set-cookie"]
    assert metrics.status_code == 403


def answers(client: httpx2.Client) -> bool:
    try:
        return client.get("/healthz").status_code == 200
    except httpx2.TransportError:
        return False
