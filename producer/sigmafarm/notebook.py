"""A batch as notebooks show it: its name, its bar, its first pictures."""

from __future__ import annotations

import base64
import io
from html import escape

from sigmafarm.as_drawn import image_of
from sigmafarm_common.errors import SigmafarmError
from sigmafarm_common.objects import ObjectStore
from sigmafarm_common.records import Batch, Job
from sigmafarm_common.visible import visible

#: Pictures that are shown, and the side of each in pixels.
NUM_PICTURES, SIDE_PX = 8, 96
#: How the bar and its parts look: a notebook has no style sheet of ours.
BAR = "background:#8884;width:24em;height:8px;line-height:0;border-radius:4px;overflow:hidden"
PART = "display:inline-block;height:8px"
#: The colour of each state in the bar.
COLOURS = {"succeeded": "#2e9e5b", "failed": "#d64545", "cancelled": "#c9a227", "running": "#2f80c3"}


def batch_html(batch: Batch, drawn: list[Job], objects: ObjectStore) -> str:
    """Return a batch as HTML that stands by itself; a picture that cannot be read is left out."""
    counts, title = batch.counts, escape(visible(batch.title))
    said = ", ".join(f"{num} {state}" for state in ("queued", *COLOURS) if (num := getattr(counts, state)))
    shares = {state: 100 * getattr(counts, state) / max(1, counts.total) for state in COLOURS}
    parts = "".join(
        f'<span style="{PART};width:{shares[state]:.2f}%;background:{colour}"></span>'
        for state, colour in COLOURS.items()
    )
    bar = f'<div style="{BAR}">{parts}</div>'
    pictures = "".join(_picture(job, objects) for job in drawn[:NUM_PICTURES])
    head = f"<div><b>{title}</b> <code>{escape(batch.id)}</code></div>"
    return f"{head}{bar}<div>{said or 'no jobs'} of {counts.total}</div><div>{pictures}</div>"


def _picture(job: Job, objects: ObjectStore) -> str:
    try:
        image = image_of(objects, job)
    except (SigmafarmError, OSError):
        return ""
    image.thumbnail((SIDE_PX, SIDE_PX))
    file = io.BytesIO()
    image.convert("RGB").save(file, "WEBP", quality=80)
    data, words = base64.b64encode(file.getvalue()).decode(), escape(visible(job.request.prompt[:200]), quote=True)
    return f'<img src="data:image/webp;base64,{data}" title="{words}" alt="{words}" style="margin:4px 4px 0 0">'
