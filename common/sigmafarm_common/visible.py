r"""Other people's text on a terminal: what would drive it is shown instead, as `\x1b` or `\u202e`.

Prompts, names, errors and file names come from anybody. A control character in them could clear the screen, set the
title, write into the clipboard or turn the reading direction, so everything that is printed for people goes through
here: tables and remarks of the command line, error messages, log lines of a console.
"""

from __future__ import annotations

import re
import unicodedata

#: Kinds of characters that are not text: controls, formats (reading direction among them), halves of pairs, separators
#: of lines and paragraphs.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
#: Formats that scripts and emoji are written with, and that do nothing else: the joiners.
_HARMLESS = frozenset("\u200c\u200d")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
#: What cannot be ASCII text, to look for quickly; line ends among it.
_SUSPECT = re.compile(r"[^ -~]")


def visible(text: str, *, keep: str = "") -> str:
    """Return a text in which every character that is none is shown as an escape; those to keep stay, such as line
    ends."""
    return _SUSPECT.sub(lambda match: _shown(match[0], keep), text)


def visible_json(text: str) -> str:
    """Return JSON that says the same and holds no such character: they are in texts only, as JSON's own escapes."""
    return _SUSPECT.sub(lambda match: _escaped(match[0]), text)


def _shown(each: str, keep: str) -> str:
    if each in keep or each in _HARMLESS or unicodedata.category(each) not in _UNSEEN:
        return each
    if each in _SHORT:
        return _SHORT[each]
    code = ord(each)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _escaped(each: str) -> str:
    if each in "\n" or each in _HARMLESS or unicodedata.category(each) not in _UNSEEN:
        return each
    units = each.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
