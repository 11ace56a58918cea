"""Takes a picture of every page of a running farm's dashboard, light and dark, on a desk and on a phone.

    python -m tests.browser.screenshots --url http://127.0.0.1:8420 --out shots [--only batch,job] [--dark] [--phone]

It shows what is there: submit something first. Nothing is changed by it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from playwright.sync_api import Browser, Page, sync_playwright

#: Sizes of the window, in CSS pixels.
SIZES = {"desk": (1280, 860), "phone": (360, 740)}
#: Pause before a picture is taken: previews and charts come a moment after the page.
SETTLE_MS = 1500


def pages_of(url: str) -> dict[str, str]:
    """Return the path of each page by its name, for the batches and jobs that the farm has now."""
    found = {"overview": "/", "batches": "/batches", "workers": "/workers", "submit": "/submit", "missing": "/nothing"}
    batches: list[dict[str, Any]] = _asked(url, "/v1/batches?limit=20")["batches"]
    if not batches:
        return found
    busy = next((b for b in batches if b["counts"]["running"]), batches[0])
    found |= {"batch": f"/batches/{busy['id']}", "table": f"/batches/{busy['id']}?view=table"}
    for state in ("succeeded", "running", "failed", "queued"):
        for batch in batches:
            if jobs := _asked(url, f"/v1/batches/{batch['id']}/jobs?state={state}&limit=1")["jobs"]:
                found[f"job-{state}"] = f"/jobs/{jobs[0]['id']}"
                break
    if failing := next((b for b in batches if b["counts"]["failed"]), None):
        found |= {"failures": f"/batches/{failing['id']}", "retry": f"/batches/{failing['id']}/confirm?act=retry"}
    if "job-succeeded" in found:
        found["again"] = f"/submit?job={found['job-succeeded'].rpartition('/')[2]}"
    return found


def take(browser: Browser, url: str, out: Path, paths: dict[str, str], looks: list[tuple[str, str]]) -> Iterator[Path]:
    """Yield the file of each picture."""
    for size, scheme in looks:
        width, height = SIZES[size]
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,  # pyright: ignore[reportArgumentType]
            device_scale_factor=1 if size == "desk" else 2,
            is_mobile=size == "phone",
            has_touch=size == "phone",
        )
        for name, path in paths.items():
            page = context.new_page()
            page.on("console", lambda said: _complain(said.type, said.text))
            page.goto(url + path)
            _settle(page)
            yield _shot(page, out / f"{name}-{size}-{scheme}.png")
            page.close()
        context.close()


def _settle(page: Page) -> None:
    page.wait_for_timeout(SETTLE_MS)


def _shot(page: Page, file: Path) -> Path:
    page.screenshot(path=file)
    too_wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    if too_wide > 0:
        sys.stderr.write(f"{file.name}: {too_wide} px wider than the window\n")
    return file


def _complain(kind: str, text: str) -> None:
    if kind in ("error", "warning"):
        sys.stderr.write(f"console: {text}\n")


def _asked(url: str, path: str) -> Any:
    with urlopen(url + path) as answer:
        return json.load(answer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--out", type=Path, default=Path("screenshots"))
    parser.add_argument("--only", default="", help="names of pages, with commas")
    parser.add_argument("--dark", action="store_true", help="only dark")
    parser.add_argument("--light", action="store_true", help="only light")
    parser.add_argument("--phone", action="store_true", help="only on a phone")
    parser.add_argument("--desk", action="store_true", help="only on a desk")
    said = parser.parse_args()
    schemes = [s for s in ("light", "dark") if getattr(said, s) or not (said.light or said.dark)]
    sizes = [s for s in SIZES if getattr(said, s) or not (said.phone or said.desk)]
    paths = {n: p for n, p in pages_of(said.url).items() if not said.only or n in said.only.split(",")}
    said.out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for file in take(browser, said.url, said.out, paths, [(size, s) for s in schemes for size in sizes]):
            sys.stdout.write(f"{file}\n")


if __name__ == "__main__":
    main()
