"""A real Chromium on the dashboard of a real server. Whatever a page says on its console as an error fails its test:
a violated content policy is said there.

Most tests move the farm by hand (`hand.work()`); those in test_journey.py have a worker with the bundled model.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.http.conftest import add_key, config, farm, hand, server, short_reads
from tests.limits import LIMIT_S

__all__ = ["add_key", "config", "farm", "hand", "server", "short_reads"]

#: How long a page may take to show what it should, in ms. Only a broken page takes so long.
PATIENCE_MS = 1000 * LIMIT_S

#: Names of the browser, the cheapest first: the headless shell is the same engine without the browser's own windows and
#: menus, and takes half of the processor time.
CHROMIUMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")

#: What a page says when its server has ended, as it does after a test: no fault of the page.
SERVER_ENDED = re.compile("ERR_CONNECTION|ERR_INCOMPLETE|ERR_EMPTY_RESPONSE|Failed to fetch")


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One Chromium for this folder's tests. It ends with them: where playwright runs, asyncio.run cannot."""
    path = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if path is None:
        pytest.skip("no chromium on the PATH: apt-get install chromium-headless-shell (or chromium)")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        expect.set_options(timeout=PATIENCE_MS)
        yield started
        started.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A window of its own: no cookies, nothing stored."""
    made = browser.new_context(viewport={"width": 1200, "height": 900}, reduced_motion="reduce")
    made.set_default_timeout(PATIENCE_MS)
    yield made
    made.close()


@pytest.fixture
def complaints(context: BrowserContext) -> list[str]:
    """What pages complain about. A test that means to provoke something clears it."""
    found: list[str] = []

    def hear(kind: str, text: str) -> None:
        if kind in ("error", "warning") and not SERVER_ENDED.search(text):
            found.append(text)

    context.on("console", lambda said: hear(said.type, said.text))
    context.on("weberror", lambda error: found.append(str(error.error)))
    context.on("dialog", lambda dialog: (found.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    return found


@pytest.fixture
def page(context: BrowserContext, complaints: list[str]) -> Iterator[Page]:
    """A tab. Its complaints fail the test."""
    made = context.new_page()
    yield made
    made.close()
    assert not complaints
