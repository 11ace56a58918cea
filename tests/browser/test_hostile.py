"""Prompts are hostile text: they are shown as text, wherever they appear, and no script of theirs runs."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from sigmafarm import Farm
from sigmafarm.http.server import HttpServer
from tests.farm_hand import FarmHand

#: What prompts try. Each would leave a mark on the window if anything of it ran.
HOSTILE = [
    "<script>window.owned = 1</script>",
    "\"><img src=x onerror='window.owned = 1'>",
    "</textarea></title><svg onload=window.owned=1>",
    "{{ 7 * 7 }} {% raw %} ${7*7}",
    "right to \u202eleft and \u2067never back",
    "a NUL \x00 and an escape \x1b[31m",
    "x" * 10_000,
    "javascript:window.owned=1",
]


def test_hostile_prompts_show_as_text_on_every_page(farm: Farm, hand: FarmHand, server: HttpServer, page: Page) -> None:
    batch = farm.submit(HOSTILE, name=HOSTILE[0])
    farm.store.fail(hand.claim()[0].job_id, 1, code="render_failed", message=HOSTILE[1], retryable=False)
    paths = ["/", "/batches", f"/batches/{batch.id}", f"/batches/{batch.id}?view=table", "/workers"]
    paths += [f"/batches/{batch.id}?q=%3Cscript%3Ewindow.owned%3D1", "/batches?q=%3Cscript%3Ewindow.owned%3D1"]
    paths += [f"/batches/{batch.id}/confirm?act=cancel&q=%3Cscript%3Ewindow.owned"]
    paths += [path for job in batch.jobs() for path in (f"/jobs/{job.id}", f"/submit?job={job.id}")]

    for path in paths:
        page.goto(server.url + path)
        expect(page.locator("main")).to_be_visible()
        assert page.evaluate("window.owned === undefined"), path
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{path} is {wide} px wider than the window"

    page.goto(f"{server.url}/jobs/{batch.id}-000000")
    expect(page.locator(".prompt")).to_have_text(HOSTILE[0])
    page.goto(f"{server.url}/jobs/{batch.id}-000005")
    expect(page.locator(".prompt")).to_have_text("a NUL ␀ and an escape ␛[31m")
    page.goto(f"{server.url}/submit?job={batch.id}-000002")
    expect(page.get_by_label("Prompts")).to_have_value(HOSTILE[2])


def test_a_script_that_got_into_a_page_would_not_run(server: HttpServer, page: Page, complaints: list[str]) -> None:
    page.goto(server.url)
    page.evaluate(
        """() => { const script = document.createElement("script"); script.textContent = "window.owned = 1";
        document.body.append(script); document.body.setAttribute("onclick", "window.owned = 1");
        document.body.click(); }"""
    )

    assert page.evaluate("window.owned === undefined")
    assert any("Content Security Policy" in said for said in complaints)
    complaints.clear()
