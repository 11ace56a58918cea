"""One look at the dashboard: who looks, at which site, and what every page says around its own content."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Depends, Request
from starlette.responses import RedirectResponse

from sigmafarm.http.dashboard.html import Html, html
from sigmafarm.http.guard.auth import Caller
from sigmafarm.http.guard.callers import Reader, form_token
from sigmafarm.http.site import Site, SiteDep
from sigmafarm_common.keys import Scope


class Visit:
    """What a page's route needs beside its own arguments: `visit: Visiting`."""

    def __init__(self, request: Request, site: SiteDep, caller: Reader):
        self.request, self.site, self.caller = request, site, caller

    @cached_property
    def now_ms(self) -> float:
        """The time that ages are counted to: one for the whole page."""
        return 1000 * self.site.clock.wall_s()

    @property
    def can_act(self) -> bool:
        return can_act(self.site, self.caller)

    @property
    def address(self) -> str:
        """Where this server is, as the reader's browser reached it."""
        return str(self.request.base_url).rstrip("/")

    @property
    def has_keys(self) -> bool:
        """Whether programs must show a key here."""
        return bool(self.caller.key_id)

    def newest_event(self) -> str:
        """Return the id of the newest event. A page that is made of what is read after this follows the farm from
        there: what happens until its stream is open is told then."""
        newest = self.site.store.last_events(limit=1)
        return newest[0].id if newest else "0-0"

    def page(self, name: str, status: int = 200, **about: Any) -> Html:
        """Return a whole page or a part of one."""
        return html(name, status, **frame(self.request, self.site, self.caller), now_ms=self.now_ms, **about)

    def see(self, path: str, **said: Any) -> RedirectResponse:
        """Send the browser on to a page, after a form: reloading it sends nothing again."""
        query = urlencode({name: value for name, value in said.items() if value is not None})
        return RedirectResponse(f"{path}?{query}" if query else path, 303)


Visiting = Annotated[Visit, Depends(Visit)]


def frame(request: Request, site: Site, caller: Caller | None) -> dict[str, Any]:
    """Return what every template may use. Without a caller: nobody signed in, nothing can be done."""
    return {
        "path": request.url.path,
        "caller": caller,
        "has_nav": caller is not None,
        "token": form_token(site.guard, caller) if caller else "",
        "can_act": caller is not None and can_act(site, caller),
        "can_drain": caller is not None and not site.config.read_only and caller.may(Scope.ADMIN),
        "is_read_only": site.config.read_only,
        "is_signed_in": caller is not None and bool(caller.nonce),
        "farm_name": site.config.namespace,
    }


def can_act(site: Site, caller: Caller) -> bool:
    """Whether pages show what changes something."""
    return not site.config.read_only and caller.may(Scope.SUBMIT)
