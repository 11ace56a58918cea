"""Every page of the dashboard in each of its states: a farm that shows them all, and where they are."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

from fastapi.routing import APIRoute
from PIL import Image
from playwright.sync_api import Page, expect

from sigmafarm import Farm
from sigmafarm.http.dashboard.mount import PAGES
from sigmafarm_common.store.values import Beat, Claim, Preview
from tests.farm_hand import FarmHand

#: What pages ask for while they are open, and what only leads to another page: no pages of their own.
PARTS = frozenset(
    {
        "/parts/overview",
        "/parts/batches",
        "/parts/workers",
        "/batches/{batch_id}/head",
        "/batches/{batch_id}/chunk",
        "/batches/{batch_id}/more",
        "/batches/{batch_id}/rows",
        "/batches/{batch_id}/tiles",
        "/batches/{batch_id}/chosen",
        "/jobs/{job_id}/live",
        "/jobs/{job_id}/facts",
        "/jobs/{job_id}/thumb",
        "/jobs/{job_id}/inside",
        "/jobs/{job_id}/pictures/{name}",
    }
)
BATCH, JOB = "/batches/{batch_id}", "/jobs/{job_id}"


def _nothing(page: Page) -> None:
    """Look at the page as it comes."""


@dataclass(frozen=True)
class Case:
    """A page in one of its states: where it is, what is done on it first, and the route that shows it."""

    path: str
    words: str
    act: Callable[[Page], object] = _nothing
    route: str = ""
    #: The part that this case is about, where another has the rest; what only repeats itself (selectors).
    within: str = "html"
    but: str = ""

    @property
    def shown(self) -> str:
        return self.route or self.path.partition("?")[0]

    @property
    def name(self) -> str:
        return f"{self.shown} {self.words}"


def routes() -> set[str]:
    """Return the addresses that the dashboard answers to."""
    found = [route for each in PAGES for route in each.router.routes if isinstance(route, APIRoute)]
    return {route.path for route in found if "GET" in (route.methods or ())}


def empty_cases() -> list[Case]:
    """Return the pages of a farm on which nothing was done yet."""
    return [Case(path, "of an empty farm", within="main") for path in ("/", "/batches", "/workers")]


def filled_cases(farm: Farm, hand: FarmHand) -> list[Case]:
    """Fill the farm with all that pages show; return them."""
    ended, drawing, paused = fill(farm, hand)
    jobs = {job.state: job.id for batch in (drawing, ended) for job in farm.batch(batch).jobs()}
    pair = "&".join(f"job={ended}-{row:06d}" for row in (0, 1))
    return [
        Case("/", "at work"),
        Case("/batches", "with some"),
        Case("/workers", "with one"),
        Case("/submit", "to be filled", _unfold),
        Case("/submit", "that does not fit", _submit_wrongly, within="form#submit"),
        Case("/docs", "of the API", but=".docs-route ~ .docs-route"),
        Case("/nothing", "that is not there"),
        Case("/batches?q=zebra", "with the sheet of keys", lambda page: page.keyboard.press("?"), within="#keys"),
        Case(f"/batches/{ended}", "that has ended, some chosen, with copies", _choose, BATCH),
        Case(f"/batches/{ended}", "with the viewer", _view, BATCH, "#viewer"),
        Case(f"/batches/{ended}?view=table", "as a table", route=BATCH, within=".jobs"),
        Case(f"/batches/{ended}?view=sheet", "as a sheet", route=BATCH, within=".jobs"),
        Case(f"/batches/{ended}?q=zebra", "without a match", route=BATCH, within=".jobs"),
        Case(f"/batches/{drawing}", "that is drawn", route=BATCH),
        Case(f"/batches/{paused}", "that is paused", route=BATCH, within="#head"),
        Case(f"/batches/{ended}/confirm?act=retry", "by itself", route=f"{BATCH}/confirm"),
        Case(f"/batches/{ended}/again?error_code=trajectory_diverged", "with a cure", _again_wrongly, f"{BATCH}/again"),
        *(Case(f"/jobs/{job_id}", f"that is {state}", _unfold, JOB, "main") for state, job_id in jobs.items()),
        Case("/jobs?search=boat", "of all batches, found"),
        Case("/jobs?search=zebra", "that nobody has", within="main"),
        Case(f"/compare?{pair}", "side by side"),
        *(Case(f"/compare?{pair}&as={way}", f"as {way}", within=".compare") for way in ("slider", "difference")),
    ]


def fill(farm: Farm, hand: FarmHand) -> tuple[str, str, str]:
    """Return the ids of a batch that has ended in all ways, of one that is drawn, and of one that is paused."""
    rows = [
        {"prompt": word, "seed": n, "id": f"row-{n}"} for n, word in enumerate(("a boat", "a barn", "warn", "fail"))
    ]
    ended = farm.submit([*rows, {"prompt": "stiff", "lms_order": 4}, {"prompt": "cancelled"}], name="Ended")
    for claim in hand.claim()[:5]:
        if claim.request.prompt == "stiff":
            diverge(farm, claim)
        else:
            hand._finish(claim)  # pyright: ignore[reportPrivateUsage]
    ended.cancel()
    drawing = farm.submit([{"prompt": f"a boat {n}", "num_inference_steps": 20} for n in range(24)], name="Drawing")
    show(farm, hand, hand.claim()[:4])
    paused = farm.submit(["a", "b"], name="Paused", priority=5)
    paused.pause()
    return ended.id, drawing.id, paused.id


def diverge(farm: Farm, claim: Claim) -> None:
    """Let a job fail as the engine says it of settings that are too stiff."""
    said = {
        "code": "trajectory_diverged",
        "message": "Trajectory diverged at step 3 of 20: order 4 is too stiff for it",
    }
    farm.store.fail(claim.job_id, claim.fence, retryable=False, **said)


def show(farm: Farm, hand: FarmHand, claims: list[Claim]) -> None:
    """Let jobs be half drawn, with a preview each."""
    file = io.BytesIO()
    Image.linear_gradient("L").resize((32, 32)).save(file, "WEBP")
    farm.store.are_previews_wanted()
    farm.store.renew(hand.info, [Beat(claim.job_id, claim.fence, 10, True) for claim in claims])
    farm.store.show([Preview(claim.job_id, claim.fence, 10, file.getvalue()) for claim in claims])


def _unfold(page: Page) -> None:
    page.evaluate("for (const each of document.querySelectorAll('main details:not(.menu)')) each.open = true")
    if page.locator("#inside-body").count():
        expect(page.locator("#inside-body")).not_to_contain_text("Read them")


def _submit_wrongly(page: Page) -> None:
    for label, value in {"Prompts": "a house\na {red|blue boat", "Width": "515", "Steps": "0", "Seed": "-3"}.items():
        page.get_by_label(label).fill(value)
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("alert")).to_be_visible()


def _again_wrongly(page: Page) -> None:
    page.get_by_label("Steps").fill("nine")
    page.get_by_role("button", name="Draw 1 job again").click()
    expect(page.get_by_role("alert")).to_be_visible()


def _view(page: Page) -> None:
    page.locator("#j1 a").click()
    expect(page.locator("#viewer-image")).to_have_js_property("complete", True)
    page.keyboard.press("i")
    expect(page.locator("#viewer-facts .settings")).to_be_visible()


def _choose(page: Page) -> None:
    page.locator("#j1 .choose").check()
    page.get_by_text("Copy as").click()
