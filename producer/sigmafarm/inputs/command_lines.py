"""Lines such as `--prompt "a red circle" --steps 20`, as AUTOMATIC1111's script of prompts from a file takes them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

from sigmafarm.items import InputRow, Written
from sigmafarm_common.settings import REQUEST_FIELDS, setting_like

#: The setting that each name stands for: ours, other names for it, and AUTOMATIC1111's.
NAMES: Mapping[str, str] = {
    **{field.a1111.lower(): field.name for field in REQUEST_FIELDS.values() if field.a1111},
    **{name: field.name for field in REQUEST_FIELDS.values() for name in field.names},
}
#: What its script takes and jobs have in another way, or not at all, with what to do instead.
ELSEWHERE: Mapping[str, str] = {
    "sd_model": "write --model and its name here",
    "sampler_index": "write --sampler and its name",
    "n_iter": "leave it out, and say --repeat for all lines",
    "batch_size": "leave it out, and say --repeat for all lines",
    "styles": "write the style's words into the prompt",
}
_KNOWN = frozenset((*NAMES, *ELSEWHERE))
#: How a line of settings begins; word processors make a dash of two hyphens.
_BEGIN = re.compile(r"(--|[\u2012-\u2015])[A-Za-z]")
#: Quotes of word processors, which no shell knows.
_CURLED = tuple("\u201c\u201d\u201e\u201f\u2018\u2019\u201a\u00ab\u00bb")


def is_command_line(line: str) -> bool:
    """Whether a line of text says settings: it begins with two hyphens and a name, and one of its names is a
    setting's."""
    return bool(_BEGIN.match(line)) and any(_name_of(word) in _KNOWN for word in line.split() if _BEGIN.match(word))


def row_of_command_line(number: int, line: str) -> InputRow:
    """Return the row that a line says; what is wrong with it travels with it."""
    written = Written(("prompt",), (line,))
    try:
        said = _said_by(line)
    except ValueError as error:
        return InputRow.bad(number, str(error), written)
    return InputRow(number, said, written=written)


def _said_by(line: str) -> dict[str, str]:
    """Return what a line says by name. Raises ValueError with the cure."""
    said: dict[str, str] = {}
    words = _words_of(line)
    while words:
        word = words.pop(0)
        flag, is_joined, value = word.partition("=")
        if (setting := NAMES.get(_name_of(flag)) if flag.startswith("--") else None) is None:
            raise ValueError(f"{word[:40]!r} is no setting of a job: {_cure(word)}")
        if setting in said:
            raise ValueError(f"{flag} stands there twice: leave one out")
        if not is_joined and (not words or _is_flag(words[0])):
            raise ValueError(f"{flag} has no value: write one behind it")
        said[setting] = value if is_joined else words.pop(0)
        if said[setting].startswith(_CURLED):
            raise ValueError(f"the value of {flag} begins with {said[setting][0]}: write straight quotes, \" or '")
    return said


def _words_of(line: str) -> list[str]:
    if not line.startswith("--"):
        raise ValueError(f"the line begins with {line[0]}, which a word processor makes of two hyphens: write --")
    try:
        return shlex.split(line)
    except ValueError as error:
        said = f"the line is no list of --settings ({str(error).lower()})"
        raise ValueError(f'{said}: check its quotes, and put a value with an apostrophe in ""') from None


def _cure(word: str) -> str:
    if not word.startswith("--"):
        return "quote a value that has blanks, or leave it out"
    name = _name_of(word)
    meant = setting_like(name)
    return ELSEWHERE.get(name) or (f"did you mean --{meant}?" if meant else "leave it out, with its value")


def _is_flag(word: str) -> bool:
    return word.startswith("--") and _name_of(word) in _KNOWN


def _name_of(flag: str) -> str:
    return flag.partition("=")[0].lstrip("-\u2012\u2013\u2014\u2015").replace("-", "_").lower()
