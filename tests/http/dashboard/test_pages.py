"""Pages as HTML over HTTP: forms need their token, filters stay in links, errors are pages, parts are parts."""

from __future__ import annotations

import html
import re
from pathlib import Path

import httpx2
import pytest

from sigmafarm import Farm
from sigmafarm.http.dashboard.pages.sign_in import own_path
from sigmafarm.http.dashboard.static_files import STATIC
from sigmafarm.http.server import HttpServer
from tests.farm_hand import FarmHand

ROOT = Path(__file__).parents[3]
HTML = {"Accept": "text/html"}


def token_of(http: httpx2.Client, path: str) -> str:
    found = re.search(r'name="csrf_token" value="([0-9a-f]+)"', http.get(path, headers=HTML).text)
    assert found
    return found.group(1)


def test_a_form_without_its_token_or_from_elsewhere_changes_nothing(
    http: httpx2.Client, farm: Farm, hand: FarmHand
) -> None:
    batch = farm.submit(["a"])
    path = f"/batches/{batch.id}/pause"

    assert http.post(path, headers=HTML).status_code == 403
    assert http.post(path, data={"csrf_token": "00"}, headers=HTML).status_code == 403
    token = token_of(http, f"/batches/{batch.id}")
    foreign = {**HTML, "Origin": "http://evil.example"}
    assert http.post(path, data={"csrf_token": token}, headers=foreign).status_code == 403
    assert not batch.record.is_paused

    assert http.post(path, data={"csrf_token": token}, headers=HTML).status_code == 303
    assert batch.record.is_paused


def test_acting_on_what_matches_means_what_was_counted(http: httpx2.Client, farm: Farm, hand: FarmHand) -> None:
    batch = farm.submit(["fail a", "fail b", "good", "fail b"])
    hand.work_all()
    question = http.get(f"/batches/{batch.id}/confirm?act=retry&state=failed&q=fail+b", headers=HTML).text
    assert '<span id="confirm-num">2</span>' in question
    action = re.search(r'<form method="post" action="([^"]+)"', question)
    assert action

    answer = http.post(
        action.group(1).replace("&amp;", "&"), data={"csrf_token": token_of(http, f"/batches/{batch.id}")}
    )

    assert answer.headers["location"] == f"/batches/{batch.id}?did=retried&num=2"
    assert (batch.counts.queued, batch.counts.failed) == (2, 1)


def test_two_models_under_one_name_are_told_on_the_workers_page(
    http: httpx2.Client, farm: Farm, hand: FarmHand
) -> None:
    farm.store.forget_worker(hand.info.id)
    for name, fingerprint in (("one", "0f3c9a71d2e4"), ("two", "77ab00000000")):
        farm.store.renew(hand.info.model_copy(update={"id": name, "fingerprints": {"tiny": fingerprint}}), [])

    page = http.get("/workers", headers=HTML).text

    assert "(0f3c9a71d2e4 on one, 77ab00000000 on two)" in page


def test_a_model_that_a_worker_could_not_load_is_told_on_the_workers_page_and_by_the_api(
    http: httpx2.Client, farm: Farm, hand: FarmHand
) -> None:
    problem = "model 'bad', unet: bad/config.json: sample_size is null: must be a whole number"
    farm.store.renew(hand.info.model_copy(update={"broken": {"bad": problem}}), [])

    page, answer = html.unescape(http.get("/workers", headers=HTML).text), http.get("/v1/models").json()

    assert f"worker hand: {problem}" in page
    assert [(model["name"], model["broken"]) for model in answer["models"]] == [
        ("bad", {"hand": problem}),
        ("tiny", {}),
    ]
    assert [model["id"] for model in answer["data"]] == ["tiny"], "OpenAI's clients are offered what can be drawn with"


@pytest.mark.parametrize(("query", "num"), [("act=cancel", 2), ("act=retry", 1), ("act=cancel&q=good", 0)])
def test_the_question_counts_only_what_the_act_would_change(
    http: httpx2.Client, farm: Farm, hand: FarmHand, query: str, num: int
) -> None:
    batch = farm.submit(["fail a", "good", "open b", "open c"])
    for claim in hand.claim()[:2]:
        hand._finish(claim)  # pyright: ignore[reportPrivateUsage]

    question = http.get(f"/batches/{batch.id}/confirm?{query}", headers=HTML).text

    assert f'<span id="confirm-num">{num}</span>' in question


def test_chips_and_search_keep_each_other_in_their_links(http: httpx2.Client, farm: Farm, hand: FarmHand) -> None:
    batch = farm.submit(["a boat", "a house"])

    page = http.get(f"/batches/{batch.id}?q=boat&view=table", headers=HTML).text

    assert f"/batches/{batch.id}?state=queued&amp;q=boat&amp;view=table" in page
    assert "a boat" in page
    assert "a house" not in page


def test_priority_must_fit(http: httpx2.Client, farm: Farm, hand: FarmHand) -> None:
    batch = farm.submit(["a"])
    token = token_of(http, f"/batches/{batch.id}")

    bad = http.post(f"/batches/{batch.id}/priority", data={"csrf_token": token, "priority": "high"}, headers=HTML)
    good = http.post(f"/batches/{batch.id}/priority", data={"csrf_token": token, "priority": "7"})

    assert bad.status_code == 422
    assert "must be a whole number from -100 to 100" in bad.text
    assert good.status_code == 303
    assert batch.record.priority == 7


@pytest.mark.parametrize("path", ["/batches/none", "/jobs/none-000001", "/nothing", "/batches/x/tiles?rows=a"])
def test_errors_are_pages_for_people_and_json_for_programs(http: httpx2.Client, path: str) -> None:
    page, body = http.get(path, headers=HTML), http.get(path)

    assert page.status_code == body.status_code
    assert "<main" in page.text
    assert body.json()["message"]
    part = http.get(path, headers={**HTML, "HX-Request": "true"})
    assert "<main" not in part.text


def test_no_page_holds_code_and_every_answer_forbids_it(http: httpx2.Client, farm: Farm, hand: FarmHand) -> None:
    batch = farm.submit(["a", "fail b"])
    hand.work_all()
    paths = ["/", "/batches", f"/batches/{batch.id}", f"/jobs/{batch.id}-000000", "/workers", "/submit", "/nothing"]

    for path in paths:
        answer = http.get(path, headers=HTML)
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=|\sstyle=|<style|javascript:", answer.text), path
        assert "hx-on" not in answer.text


def test_a_thumbnail_is_small_tagged_and_absent_without_a_picture(
    http: httpx2.Client, farm: Farm, hand: FarmHand
) -> None:
    batch = farm.submit([{"prompt": "wide", "width": 1024, "height": 512}, "fail b"])
    hand.work_all()

    small = http.get(f"/jobs/{batch.id}-000000/thumb")

    assert small.headers["content-type"] in ("image/webp", "image/png")
    assert "immutable" in small.headers["cache-control"]
    assert (
        http.get(f"/jobs/{batch.id}-000000/thumb", headers={"If-None-Match": small.headers["etag"]}).status_code == 304
    )
    assert http.get(f"/jobs/{batch.id}-000001/thumb").status_code == 404


@pytest.mark.parametrize("path", ["//evil.example", "/\\evil.example", "https://evil.example", "x", "/a\nb", ""])
def test_signing_in_leads_to_our_own_pages_only(path: str) -> None:
    assert own_path(path) == "/"


def test_an_empty_farm_has_pages_that_tell_the_next_step(http: httpx2.Client, server: HttpServer) -> None:
    for path in ("/", "/batches", "/batches?q=x", "/workers", "/submit"):
        assert http.get(path, headers=HTML).status_code == 200, path
    assert "sigmafarm submit" in http.get("/", headers=HTML).text


def test_the_page_listens_to_every_kind_of_event_that_the_store_tells() -> None:
    scripts = "".join(path.read_text() for path in (ROOT / "common/sigmafarm_common/store/lua").glob("*.lua"))
    told = set(re.findall(r"'((?:job|batch)\.[a-z]+)'", scripts))

    heard = set(re.findall(r'"((?:job|batch)\.[a-z]+)"', (STATIC / "js" / "live.js").read_text()))

    assert told == heard


def test_a_job_that_is_drawn_anew_says_why_its_bar_begins_again(
    http: httpx2.Client, farm: Farm, hand: FarmHand
) -> None:
    batch = farm.submit(["a"])
    (claim,) = hand.claim()
    page = f"/jobs/{claim.job_id}"
    assert "drawn anew" not in http.get(page, headers=HTML).text

    farm.store.fail(claim.job_id, claim.fence, code="oops", message="it fell off", retryable=True)

    assert 'drawn anew, try 2: error (<bdi class="mono">hand</bdi>)' in http.get(page, headers=HTML).text
    batch.cancel()
    assert "drawn anew" not in http.get(page, headers=HTML).text


def test_every_page_says_that_nobody_takes_the_jobs(http: httpx2.Client, farm: Farm, hand: FarmHand) -> None:
    batch = farm.submit(["a", "b"], name="two")
    farm.store.renew(hand.info, [])
    pages = {path: http.get(path, headers=HTML).text for path in ("/", "/batches", f"/batches/{batch.id}", "/submit")}
    assert not [path for path, text in pages.items() if "o worker takes" in text]

    farm.store.renew(hand.info.model_copy(update={"is_draining": True}), [])

    page = html.unescape(http.get(f"/batches/{batch.id}", headers=HTML).text)
    assert "no worker takes jobs for tiny: worker hand is drained; `sigmafarm undrain hand`" in page
    assert " left" not in page.split('id="why"')[0].split("progress-line")[1]
    job = html.unescape(http.get(f"/jobs/{batch.id}-000001", headers=HTML).text)
    assert "no worker takes jobs for tiny: worker hand is drained; `sigmafarm undrain hand`" in job
    home = html.unescape(http.get("/", headers=HTML).text)
    assert "no worker takes jobs for tiny" in home
    assert "1 lives and takes none" in home
    assert "no worker takes its jobs" in http.get("/batches", headers=HTML).text
    assert "No worker takes jobs now." in http.get("/submit", headers=HTML).text
    (queue,) = http.get("/v1/farm").json()["queues"]
    assert queue["why"].startswith("no worker takes jobs for tiny: worker hand is drained")


def test_a_new_farm_without_a_worker_says_what_to_start(http: httpx2.Client, farm: Farm, hand: FarmHand) -> None:
    assert "ready for its first prompts" in http.get("/", headers=HTML).text

    farm.store.forget_worker("hand")

    page = http.get("/", headers=HTML).text
    assert "ready for its first prompts" not in page
    assert "One that was started just now loads its model first" in page, "nobody shall start a second one meanwhile"
    assert "sigmafarm worker" in page
