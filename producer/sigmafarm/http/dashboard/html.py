"""Templates to HTML. Autoescape is always on; what is undefined is an error, not an empty place."""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import Response

from sigmafarm.http.dashboard import wording
from sigmafarm.http.dashboard.static_files import static_url
from sigmafarm.http.dashboard.views.settings import named


class Html(Response):
    """HTML in UTF-8. What no encoding can hold, half of a surrogate pair, leaves as a question mark."""

    media_type = "text/html"

    def render(self, content: Any) -> bytes:
        return str(content).encode("utf-8", "replace")


@cache
def environment() -> Environment:
    """Return the templates of the dashboard, read once."""
    made = Environment(
        loader=PackageLoader("sigmafarm.http.dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    filters: dict[str, Any] = made.filters
    for each in (wording.age, wording.clock, wording.duration, wording.iso, wording.jobs, wording.number):
        filters[each.__name__] = each
    for each in (wording.visible, wording.shortened, wording.code, named):
        filters[each.__name__] = each
    known: dict[str, Any] = made.globals
    known["static_url"] = static_url
    return made


def html(name: str, status: int = 200, **about: Any) -> Html:
    """Return a template, filled."""
    return Html(environment().get_template(name).render(status=status, **about), status)
