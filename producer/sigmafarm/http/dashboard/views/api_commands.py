"""A command of curl for each route of the API, which works as it stands: with ids of this farm, where it has any."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping

from sigmafarm.http.dashboard.views.api import JSON, Route

#: Where a key is, as commands say it: the shell puts it in.
KEY_HEADER = '-H "Authorization: Bearer $SIGMAFARM_KEY"'
#: Media types that are saved, and the file's name.
_FILES = {"image/png": "picture.png", "image/webp": "preview.webp", "application/zip": "pictures.zip"}
#: The file that a form sends.
_SENT = {"upload_image": "picture.png"}


def command_of(route: Route, base: str, ids: Mapping[str, str], *, has_key: bool) -> str:
    """Return the command: `base` is the farm's address without a slash, `ids` are values of arguments in paths."""
    body = _body(route)
    flags = "-sN" if route.is_stream else "-s"
    parts = ["curl", flags, *_saved(route), *_method(route, body), shlex.quote(base + path_of(route, ids))]
    if has_key and route.scope:
        parts.append(KEY_HEADER)
    return " ".join([*parts, *body])


def path_of(route: Route, ids: Mapping[str, str]) -> str:
    """Return a route's path with its arguments put in."""
    path = route.path
    for each in route.arguments:
        if each.place == "path":
            path = path.replace(f"{{{each.name}}}", ids.get(each.name) or each.example)
    return path


def _method(route: Route, body: list[str]) -> list[str]:
    """Return the method, unless curl takes it of itself."""
    is_own = route.method == "GET" or (route.method == "POST" and body)
    return [] if is_own else ["-X", route.method]


def _saved(route: Route) -> list[str]:
    """Return where a file goes: not an error in its place, and what a link leads to instead of the link."""
    name = next((_FILES[each.media_type] for each in route.answers if each.media_type in _FILES), "")
    is_linked = any(each.status == 302 for each in route.answers)
    return ["-fL" if is_linked else "-f", "-o", name] if name else []


def _body(route: Route) -> list[str]:
    """Return the words that send a body, as JSON where it may be JSON; none where the route takes none."""
    if not route.bodies:
        return []
    for each in route.bodies:
        if each.media_type == JSON:
            return ["--json", shlex.quote(json.dumps(each.example, ensure_ascii=False))]
    return ["-F", f"file=@{_SENT.get(route.id, 'prompts.txt')}"]
