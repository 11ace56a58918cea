"""What a page does beside showing: title and bell tell how far a batch is, keys lead about, commands are copied."""

from __future__ import annotations

import re
import shlex
import subprocess

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from sigmafarm import Farm, FarmBatch
from sigmafarm.http.server import HttpServer
from tests.command_line import runner
from tests.farm_hand import FarmHand

#: Writes down what the page tells the reader through the browser, which still tells it.
RECORD = """globalThis.told = []; globalThis.Notification = new Proxy(Notification, {
construct(real, said) { told.push([said[0], said[1].body]); return Reflect.construct(real, said); } });"""


def test_the_title_and_a_notification_tell_of_a_batchs_end(
    farm: Farm, hand: FarmHand, server: HttpServer, context: BrowserContext, page: Page
) -> None:
    batch = farm.submit([f"a boat {n}" for n in range(30)] + ["fail"], name="Boats")
    context.grant_permissions(["notifications"], origin=server.url)
    page.add_init_script(RECORD)
    page.goto(f"{server.url}/batches/{batch.id}")
    expect(page).to_have_title("0 % Boats · sigmafarm")
    bell = page.get_by_role("button", name="Tell me when it is done")
    bell.click()
    expect(bell).to_have_attribute("aria-pressed", "true")

    num = hand.work()
    expect(page).to_have_title(f"{100 * num // 31} % Boats · sigmafarm")
    assert page.evaluate("told") == []
    hand.work_all()

    expect(page).to_have_title("⚠ Boats · sigmafarm")
    assert page.evaluate("told") == [["Boats", "30 of 31 jobs drawn, 1 failed"]]
    expect(bell).to_be_hidden()


def test_keys_show_their_sheet_focus_the_search_and_lead_to_pages(
    farm: Farm, hand: FarmHand, server: HttpServer, page: Page
) -> None:
    batch = farm.submit(["a", "b", "c"])
    page.goto(f"{server.url}/batches/{batch.id}")
    page.wait_for_load_state()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Keys")).to_be_hidden()

    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("/?")
    expect(page.get_by_role("searchbox")).to_have_value("/?")
    page.goto(f"{server.url}/jobs/{batch.id}-000001")
    page.keyboard.press("ArrowRight")
    expect(page).to_have_url(f"{server.url}/jobs/{batch.id}-000002")
    page.wait_for_load_state()
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    expect(page).to_have_url(re.compile("/batches#search$"))
    page.goto(f"{server.url}/workers")
    page.keyboard.press("g")
    page.keyboard.press("s")
    expect(page.get_by_label("Prompts")).to_be_focused()


def test_what_is_copied_does_the_same_from_a_terminal_and_from_python(
    farm: Farm,
    hand: FarmHand,
    server: HttpServer,
    context: BrowserContext,
    page: Page,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    prompt = 'it\'s a "boat" on $HOME; `sea`'
    batch = farm.submit([{"prompt": prompt, "seed": 7, "guidance_scale": 5.5, "karras_sigmas": True}])
    (job,) = batch.jobs()
    hand.work_all()
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=server.url)
    run = runner(farm, monkeypatch, capsys)

    page.goto(f"{server.url}/jobs/{job.id}")
    page.wait_for_load_state()
    commands = [_copied(page, name) for name in ("Command", "Python", "curl")]
    program, *arguments = shlex.split(commands[0])
    assert (program, run(*arguments).code) == ("sigmafarm", 0)
    eval(commands[1], {"Farm": Farm})
    subprocess.run(["bash", "-c", commands[2]], check=True, capture_output=True)

    same = [_only_request(farm.batch(each.id)) for each in farm.batches()]
    assert same == [_only_request(batch)] * 4

    page.goto(f"{server.url}/batches/{batch.id}")
    page.wait_for_load_state()
    assert f"sigmafarm download {batch.id}" in _copied(page, "Command")
    assert f".batch('{batch.id}')" in _copied(page, "Python")
    assert f"{server.url}/v1/batches/{batch.id}/download.zip" in _copied(page, "curl")


def _copied(page: Page, name: str) -> str:
    """Copy one of the ways to say it, and return what the clipboard holds."""
    if not page.locator(".copy-as").is_visible():
        page.get_by_text("Copy as").click()
    button = page.get_by_role("button", name=f"Copy as {name}")
    button.click()
    expect(button).to_have_text("Copied")
    return page.evaluate("navigator.clipboard.readText()")


def _only_request(batch: FarmBatch) -> object:
    (job,) = batch.jobs()
    return job.request
