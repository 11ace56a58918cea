"""Settings as pages show them and the submit form asks for them: all of it made of their fields."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sigmafarm_common.records import Job
from sigmafarm_common.residents import SeenModel
from sigmafarm_common.setting_fields import Kind, Place, SettingField, text_of
from sigmafarm_common.settings import PICTURE_FIELDS, SETTING_FIELDS

#: Sides of a picture that the form offers, beside those of the models.
SIDES = (512, 768, 1024)
#: The words of a switch in the form.
SWITCH = (("true", "yes"), ("false", "no"))


@dataclass(frozen=True)
class Input:
    """One setting in the form."""

    field: SettingField
    #: What stands there while nothing is said.
    blank: str
    #: What can be chosen, each with its words; empty where it is typed.
    choices: tuple[tuple[str, str], ...] = ()
    #: What is offered to whoever types.
    offers: tuple[str, ...] = ()

    @property
    def input_mode(self) -> str:
        """The keyboard that a telephone shows."""
        return {Kind.WHOLE: "numeric", Kind.NUMBER: "decimal"}.get(self.field.kind, "text")


def named(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return settings named for people, in the order of their fields; what is none any more keeps its name."""
    known = [(field.label, field.shown(settings[name])) for name, field in SETTING_FIELDS.items() if name in settings]
    return known + [(name, text_of(value)) for name, value in settings.items() if name not in SETTING_FIELDS]


def figures_of(job: Job) -> list[tuple[str, str]]:
    """Return a job's settings that are neither long texts nor pictures, named for people."""
    shown_apart = (Place.TEXT, Place.PICTURES)
    said = _said(job).items()
    return named({name: value for name, value in said if SETTING_FIELDS[name].about.place not in shown_apart})


def pictures_of(job: Job) -> list[tuple[str, str]]:
    """Return the settings that name the pictures which a job draws from, with their labels."""
    return [(name, SETTING_FIELDS[name].label) for name in PICTURE_FIELDS if name in _said(job)]


def texts_of(job: Job) -> list[tuple[str, str]]:
    """Return a job's long texts beside its prompt, named for people."""
    return named({k: v for k, v in _said(job).items() if v and SETTING_FIELDS[k].about.place == Place.TEXT})


def inputs(models: Iterable[SeenModel], model: str, usual: str = "") -> dict[Place, list[Input]]:
    """Return the form's inputs by their places. `model` is the one that the form names: a choice though it is gone;
    `usual` the one that holds where none is named."""
    seen = list(models)
    found: dict[Place, list[Input]] = {place: [] for place in Place}
    blank = blanks(seen).get(model or usual, {})
    for field in SETTING_FIELDS.values():
        made = _input(field, seen, model)
        value = f"{usual} (usual)" if field.name == "model" and usual else blank.get(field.name, "")
        found[field.about.place].append(replace(made, blank=value or made.blank))
    return found


def blanks(models: Iterable[SeenModel]) -> dict[str, dict[str, str]]:
    """Return, by model, the value that is used of each setting which nobody says, as far as the model or the farm has
    one: what stands in the form's empty fields."""
    of_farm = {name: field.about.farm_default for name, field in SETTING_FIELDS.items()}
    return {
        each.card.name: {
            name: SETTING_FIELDS[name].shown(value)
            for name, value in {**of_farm, **each.card.defaults}.items()
            if name in SETTING_FIELDS and name != "model" and value is not None
        }
        for each in models
    }


def _said(job: Job) -> dict[str, Any]:
    return {name: value for name, value in job.request.said().items() if name in SETTING_FIELDS}


def _input(field: SettingField, seen: list[SeenModel], model: str) -> Input:
    choices = SWITCH if field.kind is Kind.SWITCH else tuple((each, field.shown(each)) for each in field.choices)
    offers: tuple[str, ...] = ()
    if field.name == "model":
        marks = {each.card.name: " (cannot be loaded)" if each.is_broken else "" for each in seen}
        names = [*marks, *([model] if model and model not in marks else [])]
        choices = tuple((name, name + marks.get(name, "")) for name in names)
    elif field.name in ("width", "height"):
        own = {int(each.card.defaults[field.name]) for each in seen if field.name in each.card.defaults}
        offers = tuple(map(str, sorted(own.union(SIDES))))
    words = {**dict(SWITCH), **field.about.words} if field.kind is Kind.SWITCH else field.about.words
    return Input(field, words.get(field.otherwise, field.otherwise), choices, offers)
