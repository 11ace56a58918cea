"""What a search came to, in a sentence: `41 pictures whose prompt holds 'zebra'`, `no prompt holds 'zebra'`."""

from __future__ import annotations

from sigmafarm.search.job_filter import JobFilter
from sigmafarm.search.looking import Found
from sigmafarm_common.validation import shown
from sigmafarm_common.visible import visible
from sigmafarm_common.wording import numbered


def told(wanted: JobFilter, found: Found) -> str:
    """Return how many jobs a filter meant, how many of them have a picture, and where not all was looked at."""
    about = _about(wanted)
    if not found.num:
        said = _nothing(wanted, about)
    elif found.num == found.num_drawn:
        said = f"{numbered(found.num, 'picture')} {about}"
    else:
        drawn = "none of them drawn" if not found.num_drawn else f"{found.num_drawn:,} of them drawn"
        said = f"{numbered(found.num, 'job')} {about}, {drawn}"
    return said.strip() + ("" if found.is_complete else f" among the first {found.num_seen:,} that were looked at")


def _nothing(wanted: JobFilter, about: str) -> str:
    if about and about == _whose(wanted):
        return f"no prompt holds {_quoted(wanted)}"
    return f"no job {about}"


def _about(wanted: JobFilter) -> str:
    """Return what all that are found have: `with seed 7 whose prompt holds 'zebra'`."""
    named = [(name, getattr(wanted, name)) for name in ("error_code", "model", "warning")]
    things = [f"state {' or '.join(sorted(wanted.states))}"] if wanted.states else []
    things += [f"{name.replace('_', ' ')} {value}" for name, value in named if value]
    things += [f"{each.name} {shown(each.value)}" if each.value else f"no {each.name}" for each in wanted.where]
    things += [condition.words for condition in wanted.query.others]
    return " ".join(filter(None, (f"with {_listed(things)}" if things else "", _whose(wanted))))


def _whose(wanted: JobFilter) -> str:
    return f"whose prompt holds {_quoted(wanted)}" if wanted.query.texts else ""


def _quoted(wanted: JobFilter) -> str:
    return _listed([f"'{visible(text)}'" for text in wanted.query.texts])


def _listed(things: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(things[:-1]), *things[-1:])))
