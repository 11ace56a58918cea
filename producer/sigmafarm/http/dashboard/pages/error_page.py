"""Errors as people see them: what happened, the cure, and a way on."""

from __future__ import annotations

from urllib.parse import urlencode

from fastapi import Request
from starlette.responses import RedirectResponse, Response

from sigmafarm.http.dashboard.html import html
from sigmafarm.http.dashboard.visit import frame
from sigmafarm.http.problems import Problem
from sigmafarm.http.site import Site

#: What a status is called on the page.
TITLES = {
    401: "Please sign in",
    403: "This is not allowed",
    404: "There is nothing here",
    405: "That cannot be done here",
    409: "It moved in the meantime",
    413: "That is too much at once",
    422: "Something does not fit",
    429: "Too fast, or too much",
    503: "The farm is out of reach",
}
#: What is said of an address that no page has.
NO_PAGE = "No page has this address. It may be mistyped, or the page may have moved: the overview leads everywhere."


def error_page(request: Request, status: int, problem: Problem) -> Response:
    """Return the page of an error; whoever needs a key is sent to sign in."""
    is_part = request.headers.get("hx-request") == "true"
    if problem.code == "no_key" and not is_part and request.method in ("GET", "HEAD"):
        here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse("/sign-in" + ("" if here == "/" else "?" + urlencode({"next": here})), 303)
    site: Site = request.app.state.site
    title = TITLES.get(status, "Something went wrong")
    name = "parts/error.html" if is_part else "error.html"
    if status == 404 and request.scope.get("route") is None:
        problem = problem.model_copy(update={"message": NO_PAGE})
    about = {**frame(request, site, None), "has_nav": status != 401, "is_part": is_part}
    about["can_reload"] = status == 503 and request.method == "GET"  # a form would be sent again
    return html(name, status, **about, title=title, problem=problem)
