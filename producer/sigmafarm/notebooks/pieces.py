"""The pieces of what notebooks show: HTML that stands by itself, without a script or a style sheet, on light and dark
pages. All text of other people is escaped here."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from html import escape

from sigmafarm.as_drawn import image_of
from sigmafarm_common.errors import SigmafarmError
from sigmafarm_common.objects import ObjectStore
from sigmafarm_common.records import Counts, Job
from sigmafarm_common.visible import visible

#: How the bar and its parts look.
BAR = "background:#8884;width:24em;max-width:100%;height:8px;line-height:0;border-radius:4px;overflow:hidden"
PART = "display:inline-block;height:8px"
#: The colour of each state in the bar.
COLOURS = {"succeeded": "#2e9e5b", "failed": "#d64545", "cancelled": "#c9a227", "running": "#2f80c3"}
#: The colour of a bar that knows of no states.
PLAIN = COLOURS["succeeded"]


def text(said: object) -> str:
    """Return other people's text for HTML: what would drive a page, or hide on it, is shown."""
    return escape(visible(str(said)), quote=True)


def bar(shares: Iterable[tuple[float, str]]) -> str:
    """Return a bar of parts: of each its share of the whole, 0 to 1, and its colour."""
    parts = "".join(
        f'<span style="{PART};width:{100 * share:.2f}%;background:{colour}"></span>' for share, colour in shares
    )
    return f'<div style="{BAR}">{parts}</div>'


def counts_bar(counts: Counts) -> str:
    """Return the bar of a batch: how many of its jobs stand in each state."""
    return bar((getattr(counts, state) / max(1, counts.total), colour) for state, colour in COLOURS.items())


def counts_words(counts: Counts) -> str:
    """Return the same in words: `3 queued, 8 succeeded of 11`."""
    said = ", ".join(f"{num:,} {state}" for state in ("queued", *COLOURS) if (num := getattr(counts, state)))
    return f"{said or 'no jobs'} of {counts.total:,}"


def link(url: str, words: str) -> str:
    """Return a link to a page of the dashboard, which opens beside the notebook; nothing where there is no page."""
    return f'<a href="{text(url)}" target="_blank" rel="noopener">{text(words)}</a>' if url else ""


def table(rows: Iterable[tuple[str, str]]) -> str:
    """Return a small table of two columns; the second is HTML already."""
    lines = "".join(
        f'<tr><th style="text-align:left;font-weight:normal;opacity:.75;padding:0 1em 0 0">{text(name)}</th>'
        f'<td style="text-align:left">{html}</td></tr>'
        for name, html in rows
    )
    return f'<table style="margin:4px 0">{lines}</table>'


def picture(job: Job, objects: ObjectStore, side_px: int) -> str:
    """Return a job's picture, at most so large; nothing where there is none, or none that can be read."""
    if not job.image_key:
        return ""
    try:
        image = image_of(objects, job)
    except (SigmafarmError, OSError):
        return ""
    image.thumbnail((side_px, side_px))
    file = io.BytesIO()
    image.convert("RGB").save(file, "WEBP", quality=80)
    data, words = base64.b64encode(file.getvalue()).decode(), text(job.request.prompt[:200])
    return f'<img src="data:image/webp;base64,{data}" title="{words}" alt="{words}" style="margin:4px 4px 0 0">'
