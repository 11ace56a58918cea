"""The API as a page shows it: the description at /openapi.json, made into groups of routes and the shapes of what they
answer. Pure functions; docs/making writes the same data as Markdown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sigmafarm.http.dashboard.views.api_kinds import Kind, Kinds, Schema

#: The media type whose example a command sends, where a body has several.
JSON = "application/json"
#: What FastAPI adds and nothing answers.
_UNUSED = frozenset({"HTTPValidationError", "ValidationError"})


@dataclass(frozen=True)
class Field:
    """An argument of a route, or a field of a shape."""

    name: str
    kind: Kind
    about: str = ""
    is_required: bool = False
    #: Its value unless said, as JSON; empty where there is none to tell.
    default: str = ""
    #: Of an argument: path, query or header.
    place: str = ""
    #: A value as the description gives it, empty for none.
    example: str = ""


@dataclass(frozen=True)
class Answer:
    """An answer of a route, or a form of its body."""

    #: Of an answer; 0 for a body.
    status: int
    about: str
    #: Empty for an answer without a body.
    media_type: str
    kind: Kind
    #: An example, whole.
    example: Any = None


@dataclass(frozen=True)
class Route:
    """One method of one path."""

    id: str
    method: str
    path: str
    #: Its first sentence, and what follows it.
    about: str
    more: str
    #: The scope that a key needs; empty where no key is asked for.
    scope: str
    arguments: Sequence[Field]
    body_about: str
    bodies: Sequence[Answer]
    answers: Sequence[Answer]
    errors: Sequence[Answer]

    @property
    def is_stream(self) -> bool:
        return any(each.media_type == "text/event-stream" for each in self.answers)


@dataclass(frozen=True)
class Group:
    """Routes of one tag."""

    name: str
    about: str
    routes: Sequence[Route]


@dataclass(frozen=True)
class Shape:
    """What a body or an answer in JSON holds."""

    name: str
    about: str
    fields: Sequence[Field]


@dataclass(frozen=True)
class Api:
    """All of it."""

    version: str
    groups: Sequence[Group]
    shapes: Sequence[Shape]

    @property
    def num_routes(self) -> int:
        return sum(len(group.routes) for group in self.groups)


def api_view(described: Schema) -> Api:
    """Return what /openapi.json says, as a page shows it."""
    schemas: Mapping[str, Schema] = described["components"]["schemas"]
    kinds = Kinds(schemas)
    routes: dict[str, list[Route]] = {}
    for path, methods in described["paths"].items():
        for method, said in methods.items():
            routes.setdefault(said["tags"][0], []).append(_route(kinds, path, method, said))
    groups = [Group(tag["name"], tag["description"], routes.get(tag["name"], [])) for tag in described["tags"]]
    names = [name for name in schemas if name not in _UNUSED and schemas[name].get("properties")]
    return Api(described["info"]["version"], groups, [_shape(kinds, name, schemas[name]) for name in sorted(names)])


def _route(kinds: Kinds, path: str, method: str, said: Schema) -> Route:
    first, _, rest = str(said["description"]).partition("\n\n")
    body: Schema = said.get("requestBody", {})
    answers = [answer for status, each in said["responses"].items() for answer in _answers(kinds, int(status), each)]
    return Route(
        id=said["operationId"],
        method=method.upper(),
        path=path,
        about=_unwrapped(first),
        more=_unwrapped(rest),
        scope=_scope(said),
        arguments=[_argument(kinds, each) for each in said.get("parameters", ())],
        body_about=body.get("description", ""),
        bodies=list(_answers(kinds, 0, body)) if body else [],
        answers=[each for each in answers if each.status < 400],
        errors=[each for each in answers if each.status >= 400],
    )


def _scope(said: Schema) -> str:
    return next((scope for each in said.get("security", ()) for scope in each.get("key", ())), "")


def _argument(kinds: Kinds, said: Schema) -> Field:
    schema: Schema = said["schema"]
    examples = [*schema.get("examples", ()), *said.get("examples", ()), said.get("example", "")]
    return Field(
        name=said["name"],
        kind=kinds.of(schema),
        about=_unwrapped(said.get("description") or schema.get("description", "")),
        is_required=said.get("required", False),
        default=kinds.default_of(schema),
        place=said["in"],
        example=str(examples[0]) if examples else "",
    )


def _answers(kinds: Kinds, status: int, said: Schema) -> Iterator[Answer]:
    """Yield an answer for each media type that it comes in; one without any for an answer without a body."""
    content: Mapping[str, Schema] = said.get("content", {})
    for media_type, each in content.items():
        schema = each.get("schema", {})
        example = each["example"] if "example" in each else kinds.example_of(schema)
        yield Answer(status, said.get("description", ""), media_type, kinds.of(schema), example)
    if not content:
        yield Answer(status, said.get("description", ""), "", Kind(""))


def _shape(kinds: Kinds, name: str, schema: Schema) -> Shape:
    required = schema.get("required", ())
    fields = [
        Field(
            name=each,
            kind=kinds.of(said),
            about=_unwrapped(said.get("description", "")),
            is_required=each in required,
            default=kinds.default_of(said),
        )
        for each, said in schema["properties"].items()
    ]
    return Shape(name, _unwrapped(schema.get("description", "")), fields)


def _unwrapped(text: str) -> str:
    """Return a text without the line ends of its source."""
    return " ".join(text.split())
