"""The page of the HTTP API, made of its description as /docs is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from docs.making.tables import table
from sigmafarm.http.app import create_app
from sigmafarm.http.dashboard.views.api import Answer, Field, Route, Shape, api_view
from sigmafarm.http.dashboard.views.api_commands import command_of
from sigmafarm.http.dashboard.views.api_kinds import Kind
from sigmafarm.http.openapi import NOTES
from sigmafarm_common.config import Config

#: Where `sigmafarm up` serves it.
BASE = "http://127.0.0.1:8420"


def api_page() -> str:
    """Return the page."""
    api = api_view(create_app(Config(redis_url="redis://127.0.0.1:6379/0"), has_keeper=False).openapi())
    notes = "\n".join(f"- **{name}** {text}" for name, text in NOTES.items())
    parts = [
        "# HTTP API",
        "Every farm shows this page at `/docs`, with ids of your own in its commands, and the description that it is "
        "made of at `/openapi.json`. How to begin stands under [From any language](../http.md).",
        notes,
    ]
    for group in api.groups:
        parts += [f"## {group.name.capitalize()}", group.about]
        for route in group.routes:
            parts += _route(route)
    parts += ["## Shapes", "What bodies and answers in JSON hold."]
    for shape in api.shapes:
        parts += _shape(shape)
    return "\n\n".join(parts) + "\n"


def _route(route: Route) -> Iterator[str]:
    yield f"### {route.method} {route.path}"
    yield f"{route.about} {route.more}".strip()
    yield f"Needs a key with scope `{route.scope}`, where keys are in force." if route.scope else "Asks for no key."
    yield f"```sh\n{command_of(route, BASE, {}, has_key=False)}\n```"
    if route.arguments:
        yield _fields(route.arguments)
    if route.bodies:
        yield f"Body: {route.body_about}".strip()
        yield _answers(route.bodies)
    yield "Answers:"
    yield _answers(route.answers)
    if route.errors:
        yield f"Errors: {', '.join(str(each.status) for each in route.errors)}."


def _shape(shape: Shape) -> Iterator[str]:
    yield f"### {shape.name}"
    if shape.about:
        yield shape.about
    yield _fields(shape.fields)


def _fields(fields: Sequence[Field]) -> str:
    rows = [
        (
            f"`{each.name}`" + (" (required)" if each.is_required else ""),
            each.place,
            _kind(each.kind),
            f"`{each.default}`" if each.default else "",
            each.about,
        )
        for each in fields
    ]
    return table(("name", "in", "takes", "unless said", "what"), rows)


def _answers(answers: Sequence[Answer]) -> str:
    lines: list[str] = []
    for each in answers:
        status = f"**{each.status}** " if each.status else ""
        form = f" `{each.media_type}` {_kind(each.kind)}" if each.media_type else ""
        about = each.about if each.status else ""
        lines.append(f"- {status}{about}{form}".replace("  ", " "))
    return "\n".join(lines)


def _kind(kind: Kind) -> str:
    return f"[{kind.text}](#{kind.shape.lower()})" if kind.shape else kind.text
