"""The submit form: what it says, its rows, and everything that is wrong with it told at once, beside its fields.

Pure but for the file's bytes. A form that does not fit comes back as it was sent, an uploaded file as text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import Any

from sigmafarm.http.actions.submission_options import Options
from sigmafarm.http.dashboard import expansion
from sigmafarm.inputs import FORMATS, InputFormat, parse_rows
from sigmafarm.submission import InputRow, Item
from sigmafarm_common.errors import FieldError, InvalidInput, InvalidRequest, InvalidRows, RowError
from sigmafarm_common.records import Job
from sigmafarm_common.setting_fields import text_of
from sigmafarm_common.settings import MAX_PROMPT_CHARS, SETTING_FIELDS
from sigmafarm_common.validation import shown

#: The fields of a form that are options of the whole submission, as they are called everywhere else.
OPTION_FIELDS = ("name", "priority", "repeat", *SETTING_FIELDS)
#: Texts that a form keeps beside those.
TEXT_FIELDS = ("prompts", "format", "key", *OPTION_FIELDS)
#: A file up to this comes back in the form when something does not fit; a larger one is to be chosen again.
KEPT_FILE_BYTES = 200_000
#: The longest prompt with alternatives that is looked at.
MAX_TEMPLATE_CHARS = 8 * MAX_PROMPT_CHARS
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
    def input_format(self) -> InputFormat:
        """How the prompts are written: the file's name tells, else what was chosen."""
        if self.file:
            return FORMATS.get(PurePath(self.file_name).suffix.lower(), self._chosen_format)
        return self._chosen_format

    @property
    def _chosen_format(self) -> InputFormat:
        chosen = self.value("format")
        return InputFormat(chosen) if chosen in list(InputFormat) else InputFormat.TEXT

    def options(self) -> Options:
        """Return what is said for all rows. Raises InvalidRequest with all bad fields."""
        said = {name: text for name in OPTION_FIELDS if (text := self.value(name).strip())}
        return Options().replaced(said)

    def rows(self) -> Iterator[Item]:
        """Yield the rows, alternatives expanded; what is wrong with one travels with it. Raises UnreadableInput."""
        for row in self._written_rows():
            template = self._template(row)
            if not isinstance(template, expansion.Template):
                yield template
                continue
            for prompt in template.prompts():
                yield InputRow(row.number, {**row.data, "prompt": prompt})

    def num_rows(self, most: int) -> int:
        """Return how many rows there are without making them; stops when there are more than `most`.

        Raises UnreadableInput, InvalidRequest for a prompt whose alternatives cannot be read."""
        num = 0
        for row in self._written_rows():
            template = self._template(row)
            if isinstance(template, InputRow) and template.errors:
                raise InvalidRows([RowError(row.number, template.errors)])
            num += template.num if isinstance(template, expansion.Template) else 1
            if num > most:
                break
        return num

    def kept(self) -> SubmitForm:
        """Return the form as it comes back to the browser: a small file as text among the prompts."""
        if not self.file:
            return self
        if len(self.file) > KEPT_FILE_BYTES:
            return replace(self, file=b"")
        text = self.file.decode("utf-8-sig", "replace")
        return replace(self, file=b"", values={**self.values, "prompts": text, "format": str(self.input_format)})

    def _written_rows(self) -> Iterator[InputRow]:
        data = self.file or self.value("prompts").encode("utf-8", "replace")
        name = self.file_name if self.file else "prompts"
        return parse_rows(name[:100] or "file", self.input_format, data.splitlines(keepends=True))

    def _template(self, row: InputRow) -> expansion.Template | InputRow:
        prompt = row.data.get("prompt")
        if row.errors or not self.has_alternatives or not isinstance(prompt, str) or not _has_marks(prompt):
            return row
        if len(prompt) > MAX_TEMPLATE_CHARS:
            return InputRow(row.number, row.data, (FieldError("prompt", _too_long(prompt)),))
        try:
            return expansion.parse(prompt)
        except InvalidRequest as error:
            return InputRow(row.number, row.data, error.fields)


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
        said = [f"line {row.row}: {'; '.join(f.message for f in row.fields)}" for row in error.rows[:SHOWN_ROWS]]
        return FormErrors(rows=tuple(said), num_rows=error.num_bad)
    known = {"prompt": "prompts"}
    fields = {known.get(f.field, f.field): f.message for f in error.fields}
    if not fields:
        return FormErrors(fields={"prompts": str(error)})
    strange = [message for name, message in fields.items() if name not in TEXT_FIELDS]
    own = {name: message for name, message in fields.items() if name in TEXT_FIELDS}
    return FormErrors(fields=own, general="; ".join(strange))


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
    said: dict[str, Any] = job.request.said()
    values = {name: text_of(said[name]) for name in OPTION_FIELDS if name in said}
    prompt = job.request.prompt
    if "\n" in prompt or "\r" in prompt or prompt != prompt.strip():
        values |= {"prompts": _json_line(prompt), "format": str(InputFormat.JSONL)}
    else:
        values |= {"prompts": prompt, "format": str(InputFormat.TEXT)}
    return SubmitForm(values, has_alternatives=False)


def file_too_large(form: SubmitForm) -> str:
    """Return what stands beside a file that does not come back with the form; empty if it does."""
    if not form.file or len(form.file) <= KEPT_FILE_BYTES:
        return ""
    return f"{shown(form.file_name)} is too large to come back with the form: choose it again"


def _too_long(prompt: str) -> str:
    return f"prompt has {len(prompt)} characters: {MAX_TEMPLATE_CHARS} at most, alternatives included"


def _has_marks(prompt: str) -> bool:
    return "{" in prompt or "\\" in prompt


def _json_line(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
