"""The submit form: what it says, its rows, and everything that is wrong with it told at once, beside its fields.

Pure but for the file's bytes. A form that does not fit comes back as it was sent, an uploaded file as text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sigmafarm.http.actions.submission_options import Options
from sigmafarm.inputs import InputFormat, format_of_name, lines_of, parse_rows
from sigmafarm.items import InputRow
from sigmafarm_common.errors import FieldError, InvalidInput, InvalidRows, UnreadableInput
from sigmafarm_common.records import Job
from sigmafarm_common.setting_fields import text_of
from sigmafarm_common.settings import SETTING_FIELDS
from sigmafarm_common.validation import shown

#: The fields of a form that are options of the whole submission, as they are called everywhere else.
OPTION_FIELDS = ("name", "priority", "repeat", *SETTING_FIELDS)
#: Those of alternatives that are drawn: without alternatives they say nothing.
DRAW_FIELDS = ("draws", "draw_seed")
#: Texts that a form keeps beside those.
TEXT_FIELDS = ("prompts", "format", "key", "sweep", *DRAW_FIELDS, *OPTION_FIELDS)
#: A file up to this comes back in the form when something does not fit; a larger one is to be chosen again.
KEPT_FILE_BYTES = 200_000
#: Bad rows that the page spells out.
SHOWN_ROWS = 12


@dataclass(frozen=True)
class SubmitForm:
    """What a form says. Values are the texts that were typed."""

    values: Mapping[str, str] = field(default_factory=dict[str, str])
    #: Whether {a|b} in prompts stands for several.
    has_alternatives: bool = True
    file_name: str = ""
    file: bytes = b""

    def value(self, name: str) -> str:
        return self.values.get(name, "")

    @property
    def input_format(self) -> InputFormat | None:
        """How the prompts are written: what was chosen, else what the file's name tells; None where nothing does.
        Raises UnreadableInput for a file whose lines are no prompts."""
        chosen = self.value("format")
        if chosen in list(InputFormat):
            return InputFormat(chosen)
        return format_of_name(self.file_name) if self.file else None

    def options(self) -> Options:
        """Return what is said for all rows. Raises InvalidRequest with all bad fields."""
        said = {name: text for name in OPTION_FIELDS if (text := self.value(name).strip())}
        made = Options().replaced({**said, **self._matrix_said()})
        made.matrix(None)  # which says what is wrong with it
        return made

    def count(self, wildcards: Path | None, most: int) -> int:
        """Return how many rows there are without making them; stops when there are more than `most`.

        Raises UnreadableInput, InvalidRequest for a sweep, and InvalidRows for a prompt, that cannot be read."""
        counted = Options().replaced(self._matrix_said()).matrix(wildcards).count(self.rows(), most=most)
        if counted.bad is not None:
            raise InvalidRows([counted.bad])
        return counted.num

    def _matrix_said(self) -> dict[str, Any]:
        sweep = [line.strip() for line in self.value("sweep").splitlines() if line.strip()]
        draws = {name: text for name in DRAW_FIELDS if (text := self.value(name).strip())}
        return {"sweep": sweep, "alternatives": self.has_alternatives, **(draws if self.has_alternatives else {})}

    def rows(self) -> Iterator[InputRow]:
        """Yield the rows as they are written; what is wrong with one travels with it. Raises UnreadableInput."""
        data = self.file or self.value("prompts").encode("utf-8", "replace")
        name = self.file_name if self.file else "prompts"
        return parse_rows(name[:100] or "file", self.input_format, [data])

    def kept(self) -> SubmitForm:
        """Return the form as it comes back to the browser: a small file of prompts as text among them. Any other is
        left out: it would be drawn as the text that it is not."""
        if not self.file:
            return self
        text = self.kept_text()
        if text is None:
            return replace(self, file=b"")
        return replace(self, file=b"", values={**self.values, "prompts": text, "format": self.input_format or ""})

    def kept_text(self) -> str | None:
        """Return the text of a file that comes back with the form, None for one that does not."""
        if len(self.file) > KEPT_FILE_BYTES:
            return None
        try:
            self.input_format  # noqa: B018 - refuses what is no list of prompts
            return "".join(lines_of(self.file_name, [self.file]))
        except UnreadableInput:
            return None


@dataclass(frozen=True)
class FormErrors:
    """What is wrong, by field; what belongs to no field stands above the form."""

    fields: Mapping[str, str] = field(default_factory=dict[str, str])
    #: What is wrong with rows, a sentence each.
    rows: tuple[str, ...] = ()
    num_rows: int = 0
    general: str = ""

    def __bool__(self) -> bool:
        return bool(self.fields or self.rows or self.general)


def errors_of(error: InvalidInput) -> FormErrors:
    """Return what an error says, sorted by the fields of the form."""
    if isinstance(error, InvalidRows):
        said = [f"row {row.row}: {'; '.join(f.message for f in row.fields)}" for row in error.rows[:SHOWN_ROWS]]
        return FormErrors(rows=tuple(said), num_rows=error.num_bad)
    known = {"prompt": "prompts"}
    fields = {known.get(f.field, f.field): _in_the_forms_words(f) for f in error.fields}
    if not fields:
        return FormErrors(fields={"prompts": str(error)})
    strange = [message for name, message in fields.items() if name not in TEXT_FIELDS]
    own = {name: message for name, message in fields.items() if name in TEXT_FIELDS}
    return FormErrors(fields=own, general="; ".join(strange))


def _in_the_forms_words(error: FieldError) -> str:
    """Return what is wrong with a field under the name that the form gives it: Steps, and not num_inference_steps."""
    there = SETTING_FIELDS.get(error.field)
    return re.sub(rf"^{re.escape(error.field)}(?= is )", there.label, error.message) if there else error.message


def merged(first: FormErrors, second: FormErrors) -> FormErrors:
    """Return all that is wrong."""
    return FormErrors(
        {**second.fields, **first.fields},
        first.rows or second.rows,
        first.num_rows or second.num_rows,
        "; ".join(filter(None, (first.general, second.general))),
    )


def form_of(job: Job) -> SubmitForm:
    """Return the form that would draw a job again, to be changed. Its prompt is one row, whatever stands in it."""
    return form_saying(job.request.said())


def form_saying(said: Mapping[str, Any]) -> SubmitForm:
    """Return the form that says these settings and their prompt."""
    values = {name: text_of(said[name]) for name in OPTION_FIELDS if name in said}
    prompt = str(said.get("prompt", ""))
    if "prompt" not in said or _is_a_line(prompt):
        values |= {"prompts": prompt, "format": str(InputFormat.TEXT)}
    else:
        values |= {"prompts": _json_line(prompt), "format": str(InputFormat.JSONL)}
    return SubmitForm(values, has_alternatives=False)


def _is_a_line(prompt: str) -> bool:
    """Whether a prompt that is read as text is this one again."""
    try:
        rows = list(parse_rows("prompt", InputFormat.TEXT, [prompt.encode("utf-8", "replace")]))
    except UnreadableInput:
        return False
    return [row.data for row in rows] == [{"prompt": prompt}]


def lost_file(form: SubmitForm) -> str:
    """Return what stands beside a file that does not come back with the form; empty if it does."""
    if not form.file or form.kept_text() is not None:
        return ""
    if len(form.file) > KEPT_FILE_BYTES:
        return f"{shown(form.file_name)} is too large to come back with the form: choose it again"
    return f"{shown(form.file_name)} does not come back with the form: choose one that can be read"


def _json_line(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
