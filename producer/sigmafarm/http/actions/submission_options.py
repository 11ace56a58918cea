"""What is said about a whole submission, wherever it is said."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError

from sigmafarm.matrices import Matrix, MatrixSaid, matrix_of
from sigmafarm.matrices.matrix import DRAW_SEED_END, MAX_DRAWS
from sigmafarm_common.errors import InvalidRequest, UnreadableInput
from sigmafarm_common.own_columns import MAX_COLUMNS
from sigmafarm_common.settings import Settings, setting_like
from sigmafarm_common.store.values import HIGHEST_PRIORITY, LOWEST_PRIORITY
from sigmafarm_common.validation import field_errors, too_many_names


def _as_tuple(said: Any) -> Any:
    """Take JSON's lists: strict validation wants a tuple."""
    return (*said,) if isinstance(said, list) else said


def _as_names(said: Any) -> Any:
    """Take one text too: names between commas."""
    return (said,) if isinstance(said, str) else _as_tuple(said)


class Options(Settings):
    """What is said about a whole submission: in the query, in a form's fields or in JSON. Settings are its defaults."""

    name: Annotated[str, Field(max_length=200, description="A name for people.")] = ""
    priority: Annotated[int, Field(ge=LOWEST_PRIORITY, le=HIGHEST_PRIORITY, description="Higher goes first.")] = 0
    repeat: Annotated[int, Field(ge=1, description="Jobs of each row; a seed counts up.")] = 1
    skip_bad: Annotated[bool, Field(description="Leave bad rows out instead of refusing all.")] = False
    keep: Annotated[
        tuple[str, ...],
        BeforeValidator(_as_names),
        Field(
            max_length=MAX_COLUMNS,
            description="Columns of rows to keep with their jobs, beside `id`, `label` and `x_...`, which always are.",
        ),
    ] = ()
    reuse: Annotated[bool, Field(description="Take the pictures of equal jobs; draw equal ones once.")] = False
    one_generator: Annotated[
        bool, Field(description="Row i is picture i of one call with one seed, as diffusers' pipelines draw a list.")
    ] = False
    sweep: Annotated[
        tuple[str, ...],
        BeforeValidator(_as_tuple),
        Field(description="Values of a setting, such as `guidance_scale=5,7.5,10`; a job of each combination."),
    ] = ()
    alternatives: Annotated[
        bool, Field(description="`{red|blue}` in prompts makes a job of each; `__animal__` of each line of a list.")
    ] = False
    draws: Annotated[
        int, Field(ge=0, le=MAX_DRAWS, description="So many prompts drawn of each row, in place of all. 0: all.")
    ] = 0
    draw_seed: Annotated[int, Field(ge=0, lt=DRAW_SEED_END, description="What these are drawn by.")] = 0

    def matrix(self, wildcards: Path | None) -> Matrix:
        """Return what makes several jobs of a row. Raises InvalidRequest."""
        said = MatrixSaid(sweep=self.sweep, alternatives=self.alternatives, draws=self.draws, draw_seed=self.draw_seed)
        return matrix_of(said, wildcards)

    @property
    def defaults(self) -> Settings:
        """The settings of rows that say nothing."""
        return Settings.model_construct(**{name: getattr(self, name) for name in Settings.model_fields})

    def replaced(self, said: Mapping[str, Any]) -> Options:
        """Return these options with some said anew. Raises InvalidRequest with all bad ones."""
        if wrong := too_many_names(said):
            raise InvalidRequest([wrong])
        try:
            return Options.model_validate({**self.model_dump(exclude_unset=True), **said})
        except ValidationError as error:
            raise InvalidRequest(field_errors(error, setting_like)) from None

    def replaced_as_json(self, said: Mapping[str, Any]) -> Options:
        """The same by JSON's own types: there, "4" is no number and true is not 1."""
        if wrong := too_many_names(said):
            raise InvalidRequest([wrong])
        try:
            text = json.dumps({**self.model_dump(exclude_unset=True, mode="json"), **said})
            return Options.model_validate_json(text, strict=True)
        except ValidationError as error:
            raise InvalidRequest(field_errors(error, setting_like)) from None
        except RecursionError:
            raise UnreadableInput("the body is no JSON of ours (it is nested too deep)") from None
