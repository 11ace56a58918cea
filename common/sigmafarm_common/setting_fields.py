"""A setting is said once: its field in settings.py tells every surface what it is called, what it takes and what for.

pydantic's own words come first: the type and its range, `title` (the label for people), `description` (the help). What
pydantic has no place for stands in About. `fields_of` reads both into SettingFields, from which flags, columns, request
bodies, forms, the text of a picture and the README's table are made.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from annotated_types import Ge, Le, Lt, MultipleOf
from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

#: A pair of numbers as text: `0.2-5`, `0.2,5` or `0.2, 5`.
_NUMBER = r"(\d*\.?\d+(?:e[+-]?\d+)?|\d+\.)"
_PAIR = re.compile(rf"\s*{_NUMBER}\s*[-,]\s*{_NUMBER}\s*", re.ASCII | re.IGNORECASE)


#: What numbers of tables and forms, and of the programs that read them, are exact up to.
MOST_SHOWN = 2**53
#: What is shown of the name of a picture, in characters.
SHOWN_NAME_CHARS = 27


class Place(StrEnum):
    """Where a setting stands in the dashboard's form."""

    #: Among the prompts, with room for a long text; job pages show it as a text too.
    TEXT = "text"
    #: Beside the prompts too, chosen as files; job pages show them as pictures.
    PICTURES = "pictures"
    #: Below those, of which they speak.
    PICTURED = "pictured"
    #: In the column beside them.
    SIDE = "side"
    #: Folded away below that.
    FOLDED = "folded"


class Kind(StrEnum):
    """What values of a setting are, as far as flags, forms and tables differ."""

    #: No point in it.
    WHOLE = "whole number"
    #: With a point, if it has one.
    NUMBER = "number"
    #: Yes or no.
    SWITCH = "true or false"
    #: Of a few words.
    CHOICE = "one of"
    #: Such as `0.2-5`.
    PAIR = "two numbers"
    #: The name of an uploaded picture, or of a job's.
    PICTURE = "picture"
    #: Any.
    TEXT = "text"


@dataclass(frozen=True, kw_only=True)
class About:
    """What a field of Settings says of itself that pydantic has no word for."""

    #: What holds where neither the job, its batch nor its model says anything. None: nothing does, or it is drawn.
    farm_default: Any = None
    #: What decides where nobody says anything, in a word or two, where that is not the farm's default alone.
    otherwise: str = ""
    #: Shorter names: flags (`steps`: `--steps`), and what OpenAI's clients send. Files and bodies of the farm have
    #: one name for one thing.
    aliases: tuple[str, ...] = ()
    #: AUTOMATIC1111's name for it, where that is not the field's own.
    a1111: str = ""
    #: Its name in the text of a picture; None: its label. Empty: that text says it in another way, or not at all.
    in_text: str | None = None
    #: What its numbers count.
    unit: str = ""
    #: Words that people know for the values of a choice, where those are others.
    words: Mapping[str, str] = field(default_factory=dict[str, str])
    place: Place = Place.FOLDED
    #: Whether its texts name pictures that jobs draw from.
    is_picture: bool = False


@dataclass(frozen=True)
class SettingField:
    """A setting as surfaces know it."""

    name: str
    label: str
    help: str
    kind: Kind
    about: About
    #: The range of a number; None where it has no end.
    least: float | None = None
    most: float | None = None
    multiple_of: float | None = None
    #: The words of a CHOICE.
    choices: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Every name by which it may be said, its own first."""
        return (self.name, *self.about.aliases)

    @property
    def flags(self) -> tuple[str, ...]:
        """Its flags on the command line."""
        return tuple("--" + name.replace("_", "-") for name in self.names)

    @property
    def otherwise(self) -> str:
        """What holds where nobody says anything, in a word or two."""
        default = self.about.farm_default
        return self.about.otherwise or ("" if default is None else text_of(default))

    @property
    def a1111(self) -> str:
        return self.about.a1111 or self.name

    @property
    def in_text(self) -> str:
        """Its name in the text of a picture, empty where it has none of its own."""
        return self.label if self.about.in_text is None else self.about.in_text

    @property
    def range(self) -> str:
        """The numbers or words that it takes: `1 to 1000`, `png, jpeg, webp`; empty where its kind says it all."""
        if self.least is None:
            return ", ".join(self.choices)
        is_open = self.most is None or self.most > MOST_SHOWN
        end = "and up" if is_open else f"to {text_of(self.most)}"
        step = f", a multiple of {text_of(self.multiple_of)}" if self.multiple_of else ""
        return f"{text_of(self.least)} {end}{step}"

    def shown(self, value: Any) -> str:
        """Return a value for people."""
        if isinstance(value, bool):
            return "yes" if value else "no"
        text = text_of(value)
        if self.kind is Kind.PICTURE and len(text) > SHOWN_NAME_CHARS:
            return f"{text[:SHOWN_NAME_CHARS]}…"
        return " ".join(filter(None, (self.about.words.get(text, text), self.about.unit)))


@cache
def fields_of(model: type[BaseModel], *, but: tuple[str, ...] = ()) -> Mapping[str, SettingField]:
    """Return the fields of a model of settings by name, in their order, but for those that are no settings."""
    return {name: _field(name, info) for name, info in model.model_fields.items() if name not in but}


def text_of(value: Any) -> str:
    """Return a value as flags, cells and the text of a picture say it; parsing that gives the value again."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    if isinstance(value, list | tuple):
        return "-".join(text_of(each) for each in value)
    return str(value)


def _read_pair(value: Any) -> Any:
    """Read a pair that came as text; in a query, as a list of one text."""
    text = value[0] if isinstance(value, list) and len(value) == 1 else value
    if not isinstance(text, str):
        return tuple(value) if isinstance(value, list) else value
    if match := _PAIR.fullmatch(text):
        return tuple(float(each) for each in match.groups())
    raise PydanticCustomError("pair", "must be two numbers, such as 0.2-5")


#: Two numbers, said as `0.2-5`, as `0.2,5` or in JSON as [0.2, 5].
FloatPair = Annotated[tuple[float, float], BeforeValidator(_read_pair)]


def _field(name: str, info: FieldInfo) -> SettingField:
    kind, bounds = _type_of(info.annotation), [*info.metadata, *_bounds_of(info.annotation)]
    about = next((each for each in bounds if isinstance(each, About)), About())
    return SettingField(
        name,
        info.title or name.replace("_", " ").capitalize(),
        info.description or "",
        Kind.PICTURE if about.is_picture else _kind_of(name, kind),
        about,
        least=_bound(bounds, Ge, "ge"),
        most=_most(bounds, kind),
        multiple_of=_bound(bounds, MultipleOf, "multiple_of"),
        choices=tuple(str(each.value) for each in kind) if issubclass(kind, Enum) else (),
    )


def _kind_of(name: str, kind: type) -> Kind:
    if issubclass(kind, Enum):
        return Kind.CHOICE
    kinds = {bool: Kind.SWITCH, int: Kind.WHOLE, float: Kind.NUMBER, tuple: Kind.PAIR, str: Kind.TEXT}
    assert kind in kinds, f"{name} is a {kind.__name__}: no surface knows how to say one"
    return kinds[kind]


def _type_of(annotation: Any) -> type:
    """Return the type behind Annotated and `| None`."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type_of(parts[0])
    if origin in (Union, UnionType):
        (inner,) = (part for part in parts if part is not NoneType)
        return _type_of(inner)
    return origin or annotation


def _bounds_of(annotation: Any) -> Iterator[Any]:
    """Yield what is annotated to the types inside of a field's."""
    parts = get_args(annotation)
    if get_origin(annotation) is Annotated:
        for each in parts[1:]:
            yield from each.metadata if isinstance(each, FieldInfo) else (each,)
        parts = parts[:1]
    for part in parts:
        yield from _bounds_of(part)


def _most(bounds: list[Any], kind: type) -> float | None:
    below = _bound(bounds, Lt, "lt")
    return below - 1 if below is not None and kind is int else _bound(bounds, Le, "le")


def _bound(bounds: list[Any], kind: type, name: str) -> Any:
    return next((getattr(each, name) for each in bounds if isinstance(each, kind)), None)
