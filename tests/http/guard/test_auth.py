"""Who may call: keys, scopes, owners, rates; browsers' sessions, forms and origins; the read-only switch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import httpx2
import pytest
from fastapi import Depends, FastAPI, Request
from starlette.responses import Response

from sigmafarm import Config, Farm
from sigmafarm.cli import main
from sigmafarm.http.guard.auth import COOKIE
from sigmafarm.http.guard.callers import AnyCaller, FormSubmitter, form_token, sign_in
from sigmafarm.http.guard.sessions import SESSION_S, Sessions
from sigmafarm.http.server import HttpServer
from sigmafarm.http.site import SiteDep
from sigmafarm_common.clock import SystemClock
from sigmafarm_common.keys import Scope
from tests.farm_hand import FarmHand
from tests.http.conftest import add_key
from tests.limits import LIMIT_S, until

ONE = {"prompts": ["a"]}


@pytest.fixture
def keyed(config: Config, farm: Farm) -> Iterator[httpx2.Client]:
    """A client without a key, of a server that found one when it started."""
    add_key(farm, "somebody")
    with (
        HttpServer(config, has_keeper=False) as server,
        httpx2.Client(base_url=server.url, timeout=LIMIT_S) as client,
    ):
        yield client


def test_nobody_comes_in_without_a_key_once_there_is_one(keyed: httpx2.Client):
    for method, path in [("GET", "/v1/batches"), ("POST", "/v1/batches"), ("GET", "/metrics"), ("GET", "/v1/events")]:
        response = keyed.request(method, path)
        assert (response.status_code, response.json()["code"]) == (401, "no_key")
        assert response.headers["www-authenticate"] == "Bearer"
    assert keyed.get("/healthz").status_code == keyed.get("/readyz").status_code == 200


def test_a_first_key_is_asked_for_within_a_second_or_so(http: httpx2.Client, farm: Farm):
    assert http.get("/v1/batches").status_code == 200

    add_key(farm)

    until(lambda: http.get("/v1/batches").status_code == 401, "a key is asked for")


@pytest.mark.parametrize(
    "text",
    ["x y", "x", "sf_", "sf_000000000000_" + "a" * 43, "sf_ÿ_x", "sf_" + "a" * 10_000],
    ids=["none", "word", "prefix", "unknown", "umlaut", "long"],
)
def test_what_is_no_key_is_refused(keyed: httpx2.Client, text: str):
    response = keyed.get("/v1/batches", headers={"Authorization": f"Bearer {text}".encode("latin-1")})

    assert (response.status_code, response.json()["code"]) == (401, "no_key")


def test_a_key_with_another_secret_is_refused(keyed: httpx2.Client, farm: Farm):
    _, header = add_key(farm)
    wrong = header["Authorization"][:-1] + ("a" if header["Authorization"][-1] != "a" else "b")

    assert keyed.get("/v1/batches", headers={"Authorization": wrong}).status_code == 401
    assert keyed.get("/v1/batches", headers=header).status_code == 200


def test_a_key_ends_at_once(keyed: httpx2.Client, farm: Farm):
    key_id, header = add_key(farm)
    assert keyed.get("/v1/batches", headers=header).status_code == 200

    farm.store.revoke_key(key_id)

    assert keyed.get("/v1/batches", headers=header).status_code == 401


def test_nothing_kept_of_a_key_opens_anything(farm: Farm, redis_client: object):
    _, header = add_key(farm)
    secret = header["Authorization"].split("_", 2)[2]

    (record,) = farm.store.keys()

    assert secret not in record.model_dump_json()


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [(Scope.READ, {"read"}), (Scope.SUBMIT, {"submit"}), (Scope.ADMIN, {"read", "submit", "admin"})],
)
def test_each_scope_opens_its_own_doors(
    keyed: httpx2.Client, farm: Farm, hand: FarmHand, scope: Scope, allowed: set[str]
):
    _, header = add_key(farm, "ann", scope)
    calls = {
        "read": keyed.get("/v1/farm", headers=header),
        "submit": keyed.post("/v1/batches", json=ONE, headers=header),
        "admin": keyed.post("/v1/workers/hand/drain", headers=header),
    }

    assert {name for name, response in calls.items() if response.status_code < 300} == allowed
    assert all(r.json()["code"] == "not_allowed" for r in calls.values() if r.status_code == 403)
    assert keyed.get("/metrics", headers=header).status_code == (200 if scope is Scope.ADMIN else 403)


def test_the_owner_is_the_keys_and_others_things_do_not_exist(keyed: httpx2.Client, farm: Farm, hand: FarmHand):
    _, ann = add_key(farm, "ann")
    _, bob = add_key(farm, "bob")
    _, boss = add_key(farm, "boss", Scope.ADMIN)
    made = keyed.post("/v1/batches", json={**ONE, "name": "ann's"}, headers=ann).json()["batch"]
    hand.work_all()
    job = f"{made['id']}-000000"
    gets = ["", "/jobs", "/count", "/failures", "/manifest", "/download.zip", "/events"]
    paths = [("GET", f"/v1/batches/{made['id']}{each}") for each in gets]
    paths += [("GET", f"/v1/jobs/{job}{each}") for each in ("", "/image", "/preview")]
    paths += [("POST", f"/v1/batches/{made['id']}/{each}") for each in ("pause", "resume", "cancel", "retry")]
    paths += [("POST", f"/v1/jobs/{job}/{each}") for each in ("cancel", "retry")]

    assert made["owner"] == "ann"
    for method, path in paths:
        response = keyed.request(method, path, headers=bob)
        assert (response.status_code, response.json()["code"]) == (404, "not_found"), path
    assert keyed.patch(f"/v1/batches/{made['id']}", json={"priority": 9}, headers=bob).status_code == 404
    assert keyed.get("/v1/batches", headers=bob).json()["batches"] == []
    assert keyed.get("/v1/farm", headers=bob).json()["batches"] == []
    assert keyed.get(f"/v1/batches/{made['id']}", headers=boss).status_code == 200
    assert [b["name"] for b in keyed.get("/v1/batches", headers=boss).json()["batches"]] == ["ann's"]


def test_an_idempotency_key_is_its_owners_own(keyed: httpx2.Client, farm: Farm, hand: FarmHand):
    made = [
        keyed.post("/v1/batches", json=ONE, headers={**add_key(farm, owner)[1], "Idempotency-Key": "same"}).json()
        for owner in ("ann", "bob")
    ]

    assert [each["is_new"] for each in made] == [True, True]


def test_jobs_in_a_workers_hands_are_shown_to_their_owner_only(keyed: httpx2.Client, farm: Farm, hand: FarmHand):
    _, ann = add_key(farm, "ann")
    _, bob = add_key(farm, "bob")
    batch = keyed.post("/v1/batches", json=ONE, headers=ann).json()["batch"]["id"]
    hand.claim()

    shown = {
        who: keyed.get("/v1/workers", headers=h).json()["workers"][0]["jobs"] for who, h in [("ann", ann), ("bob", bob)]
    }

    assert shown == {"ann": [f"{batch}-000000"], "bob": []}


def test_a_key_that_calls_too_often_is_told_when_to_come_back(config: Config, farm: Farm):
    _, ann = add_key(farm, "ann")
    _, bob = add_key(farm, "bob")
    with HttpServer(config.replaced(rate_per_s=0.01, rate_burst=3), has_keeper=False) as server:
        codes = [httpx2.get(server.url + "/v1/models", headers=ann).status_code for _ in range(4)]
        refused = httpx2.get(server.url + "/v1/models", headers=ann)
        other = httpx2.get(server.url + "/v1/models", headers=bob)

    assert codes == [200, 200, 200, 429]
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_requests")
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert 1 <= int(refused.headers["retry-after"]) <= 100
    assert other.status_code == 200


def test_the_read_only_switch(config: Config, farm: Farm, hand: FarmHand):
    batch = farm.submit(["a"]).id
    with HttpServer(config.replaced(read_only=True), has_keeper=False) as server:
        unsafe = [
            httpx2.post(server.url + "/v1/batches", json=ONE),
            httpx2.post(f"{server.url}/v1/batches/{batch}/cancel"),
            httpx2.patch(f"{server.url}/v1/batches/{batch}", json={"priority": 1}),
            httpx2.post(f"{server.url}/v1/jobs/{batch}-000000/retry"),
            httpx2.post(f"{server.url}/v1/workers/hand/drain"),
        ]
        safe = httpx2.get(f"{server.url}/v1/batches/{batch}")

    assert {response.status_code for response in unsafe} == {403}
    assert all("unset SIGMAFARM_READ_ONLY" in response.json()["message"] for response in unsafe)
    assert safe.status_code == 200
    assert farm.batch(batch).counts.queued == 1


# -- other sites' pages


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8420", "127.0.0.1.evil.example", "", "[x", "10.0.0.7"])
def test_another_name_that_leads_here_is_refused(http: httpx2.Client, host: str):
    response = http.get("/v1/batches", headers={"Host": host})

    assert (response.status_code, response.json()["code"]) == (403, "not_allowed")


@pytest.mark.parametrize("host", ["localhost:8420", "127.0.0.1", "[::1]:8420"])
def test_names_of_loopback_are_let_in(http: httpx2.Client, host: str):
    assert http.get("/v1/batches", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
def test_what_another_sites_page_sends_changes_nothing(
    http: httpx2.Client, farm: Farm, hand: FarmHand, headers: dict[str, str]
):
    response = http.post("/v1/batches", content=b"a", headers={"Content-Type": "text/plain", **headers})

    assert (response.status_code, response.json()["code"]) == (403, "not_allowed")
    assert farm.batches() == []


def test_our_own_pages_and_programs_may_send(server: HttpServer, hand: FarmHand):
    url = server.url + "/v1/batches"

    assert httpx2.post(url, json=ONE).status_code == 201
    assert (
        httpx2.post(url, json=ONE, headers={"Origin": server.url, "Sec-Fetch-Site": "same-origin"}).status_code == 201
    )


# -- browsers' sessions


async def key_of_form(request: Request) -> str:
    return str((await request.form()).get("key", ""))


def with_pages(app: FastAPI) -> None:
    """Pages as the dashboard has them: one that signs in, one with a form, one that takes it."""

    @app.get("/test/token")
    def token(site: SiteDep, caller: AnyCaller) -> Response:
        return Response(form_token(site.guard, caller))

    @app.post("/test/form")
    def form(caller: FormSubmitter) -> Response:
        return Response(caller.owner)

    @app.post("/test/sign-in")
    def signed_in(request: Request, site: SiteDep, key: Annotated[str, Depends(key_of_form)]) -> Response:
        response = Response("welcome")
        sign_in(request, response, site.guard, key)
        return response


@pytest.fixture
def browser(config: Config, farm: Farm) -> Iterator[httpx2.Client]:
    """A browser that signed in with ann's key."""
    key_id, header = add_key(farm, "ann")
    add_key(farm, "bob")
    server = HttpServer(config, has_keeper=False)
    with_pages(server.app)
    with server, httpx2.Client(base_url=server.url, headers={"Origin": server.url}) as client:
        signed = client.post("/test/sign-in", data={"key": header["Authorization"].removeprefix("Bearer ")})
        assert signed.status_code == 200
        said = signed.headers["set-cookie"].lower()
        assert "httponly" in said
        assert "samesite=strict" in said
        assert header["Authorization"].split("_", 2)[2] not in said
        client.headers["x-test-key"] = key_id
        yield client


def test_a_wrong_key_signs_nobody_in(browser: httpx2.Client):
    response = browser.post("/test/sign-in", data={"key": "sf_nonsense"})

    assert (response.status_code, response.json()["code"]) == (401, "no_key")
    assert "set-cookie" not in response.headers


def test_a_session_is_its_keys(browser: httpx2.Client, farm: Farm, hand: FarmHand):
    made = browser.post("/v1/batches", json=ONE)

    assert made.json()["batch"]["owner"] == "ann"
    assert browser.get("/v1/batches").status_code == 200
    farm.store.revoke_key(browser.headers["x-test-key"])
    assert browser.get("/v1/batches").status_code == 401


def test_what_a_cookie_signs_must_come_from_our_own_page(browser: httpx2.Client, hand: FarmHand):
    del browser.headers["Origin"]

    assert browser.post("/v1/batches", json=ONE).status_code == 403
    assert browser.post("/v1/batches", json=ONE, headers={"Origin": "https://evil.example"}).status_code == 403
    assert browser.post("/v1/batches", json=ONE, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 201


def test_a_form_needs_the_token_of_its_session(browser: httpx2.Client):
    token = browser.get("/test/token").text

    assert browser.post("/test/form", data={"csrf_token": token}).text == "ann"
    assert browser.post("/test/form", headers={"X-CSRF-Token": token}).text == "ann"
    for wrong in ({}, {"csrf_token": ""}, {"csrf_token": "ü" * 64}, {"csrf_token": token[:-1]}):
        assert browser.post("/test/form", data=wrong).status_code == 403


@pytest.mark.parametrize("spoil", [str.upper, lambda c: c[:-1], lambda c: "x." + c, lambda c: "", lambda c: "a.b.c.d"])
def test_a_cookie_that_is_not_ours_is_refused(browser: httpx2.Client, spoil):
    cookie = browser.cookies[COOKIE]
    browser.cookies.clear()

    response = browser.get("/v1/batches", headers={"Cookie": f"{COOKIE}={spoil(cookie)}"})

    assert response.status_code == 401


class DayLater(SystemClock):
    """A clock at which a session of now is over."""

    def wall_s(self) -> float:
        return super().wall_s() + SESSION_S + 5


def test_sessions_end_and_outlive_a_restart(tmp_path: Path):
    cookie = Sessions.of(tmp_path, SystemClock()).issue("0123456789ab")
    again = Sessions.of(tmp_path, SystemClock())

    session = again.read(cookie)

    assert session is not None
    assert session.key_id == "0123456789ab"
    assert (tmp_path / "session.secret").stat().st_mode & 0o777 == 0o600
    assert Sessions((tmp_path / "session.secret").read_bytes(), DayLater()).read(cookie) is None
    assert Sessions(b"x" * 32, SystemClock()).read(cookie) is None


# -- sigmafarm keys


def test_keys_are_made_shown_once_listed_and_revoked(
    farm: Farm, redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], server: HttpServer
):
    def run(*arguments: str) -> tuple[str, str]:
        monkeypatch.setattr("sys.argv", ["sigmafarm", "--redis-url", redis_url, "keys", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        assert not end.value.code, said.err
        return said.out, said.err

    text, _ = run("add", "ci", "--owner", "ann", "--scope", "read")
    (record,) = farm.store.keys()
    listed, _ = run("list")
    header = {"Authorization": f"Bearer {text.strip()}"}

    assert (record.name, record.owner, record.scopes) == ("ci", "ann", {Scope.READ})
    assert record.id in listed
    assert text.strip().split("_", 2)[2] not in listed
    assert httpx2.get(server.url + "/v1/batches", headers=header).status_code == 200
    assert "is revoked" in run("revoke", record.id)[1]
    assert farm.store.keys() == []


def test_a_name_that_is_none_is_refused(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("sys.argv", ["sigmafarm", "--redis-url", redis_url, "keys", "add", "", "--owner", "x" * 65])

    with pytest.raises(SystemExit) as end:
        main()

    assert end.value.code == 2
    assert "must have 1 to 64 printable characters" in capsys.readouterr().err
