"""Every page keeps to WCAG 2.2 AA, in both themes, on a desk and on a phone, and fits windows of every width."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import cycle

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from sigmafarm import Farm
from sigmafarm.http.server import HttpServer
from sigmafarm_common.config import Config
from sigmafarm_common.keys import Scope
from tests.browser.access import LOOKS, look_over
from tests.browser.conftest import add_key
from tests.browser.every_page import PARTS, Case, empty_cases, filled_cases, routes, show
from tests.farm_hand import FarmHand

#: Whether each page is looked at in both themes on a desk and on a phone, or in two of the four.
EVERY_LOOK = bool(os.environ.get("EVERY_LOOK"))


@pytest.mark.slow
def test_every_page_keeps_to_the_rules_of_access_and_fits_every_window(
    config: Config, farm: Farm, server: HttpServer, context: BrowserContext
) -> None:
    wrong = _wrong(context, server.url, empty_cases())
    filled = filled_cases(farm, FarmHand(farm))
    wrong |= _wrong(context, server.url, filled)
    add_key(farm, "ann", Scope.READ)
    with HttpServer(config, has_keeper=False) as locked:
        keyed = [Case("/sign-in", "as it comes"), Case("/sign-in", "after a wrong key", _sign_in_wrongly)]
        wrong |= _wrong(context, locked.url, keyed)

    assert not wrong
    missing = routes() - PARTS - {case.shown for case in (*filled, *keyed)}
    assert not missing, "a page without a case: add one in every_page.py, or name it among its PARTS"


def _wrong(context: BrowserContext, url: str, cases: Sequence[Case]) -> dict[str, list[str]]:
    """Return what is wrong with pages, by their name."""
    page, found = context.new_page(), dict[str, list[str]]()
    for case, looks in zip(cases, cycle(LOOKS)):
        page.goto(url + case.path)
        page.wait_for_load_state()
        case.act(page)
        found[case.name] = [
            said
            for each in (LOOKS if EVERY_LOOK else [looks])
            for said in look_over(page, each, within=case.within, but=case.but)
        ]
    page.close()
    return {name: said for name, said in found.items() if said}


def _sign_in_wrongly(page: Page) -> None:
    page.get_by_label("Key").fill("sf_wrong")
    page.keyboard.press("Enter")
    expect(page.locator("#key-problem")).to_be_visible()


def test_pictures_stay_in_sight_while_some_are_drawn_and_many_failed(
    farm: Farm, hand: FarmHand, server: HttpServer, page: Page
) -> None:
    batch = farm.submit([f"a boat {n}" for n in range(14)])
    claims = hand.claim()
    for n, claim in enumerate(claims[:10]):
        farm.store.fail(claim.job_id, claim.fence, code=f"reason_{n}", message="A long reason. " * 20, retryable=False)
    show(farm, hand, claims[10:])
    page.set_viewport_size({"width": 1440, "height": 900})

    page.goto(f"{server.url}/batches/{batch.id}")

    expect(page.locator(".is-now img")).to_have_count(4)
    expect(page.locator(".reasons > li")).to_have_count(10)
    assert page.locator("#j0").evaluate("each => each.getBoundingClientRect().top") < 900
