"""Drawing pictures again with changes: what was said of them, and the jobs that it makes of those that were there.

A setting that is left empty stays as each job has it. Pure functions; the form's texts are read by the rules
of the settings themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sigmafarm_common.errors import FieldError, InvalidRequest
from sigmafarm_common.records import Job
from sigmafarm_common.settings import SETTING_FIELDS, RenderRequest, Settings

#: Settings that are told in the form's own way.
_APART = ("seed", "width", "height", "init_image", "mask_image")
#: What can be changed by a field of its own name.
CHANGED_FIELDS = tuple(name for name in SETTING_FIELDS if name not in _APART)
#: What is said beside the settings.
OWN_FIELDS = ("name", "scale", "seeds", "repeat")
#: Sides are multiples of this, in pixels.
SIDE_STEP = 8
#: The most pictures that one is drawn as.
MAX_REPEAT = 1000


@dataclass(frozen=True)
class Changes:
    """What is to be different."""

    settings: Mapping[str, Any]
    #: By how much the sides grow; 1 for not at all.
    scale: float = 1.0
    #: Whether seeds are drawn anew, and how many pictures each job becomes.
    has_new_seeds: bool = False
    repeat: int = 1

    @classmethod
    def parse(cls, said: Mapping[str, str]) -> Changes:
        """Return what a form says. Raises InvalidRequest with all bad fields."""
        bad: list[FieldError] = []
        settings: dict[str, Any] = {}
        try:
            settings = Settings.parse({n: said[n].strip() for n in CHANGED_FIELDS if said.get(n, "").strip()}).said()
        except InvalidRequest as error:
            bad += error.fields
        scale, repeat = said.get("scale", "").strip() or "1", said.get("repeat", "").strip() or "1"
        if not _is_scale(scale):
            bad.append(FieldError("scale", f"larger is {scale[:40]!r}: must be a number from 0.1 to 8, such as 1.5"))
        if not (repeat.isascii() and repeat.isdigit() and 1 <= int(repeat[:9]) <= MAX_REPEAT):
            must = f"must be a whole number from 1 to {MAX_REPEAT}"
            bad.append(FieldError("repeat", f"pictures of each is {repeat[:40]!r}: {must}"))
        if bad:
            raise InvalidRequest(bad)
        has_new_seeds = said.get("seeds") == "new" or int(repeat) > 1
        return cls(settings, float(scale), has_new_seeds, int(repeat))

    def requests(self, jobs: Iterable[Job]) -> Iterator[RenderRequest]:
        """Yield what jobs become: `repeat` of each, side by side."""
        for job in jobs:
            changed = job.request.model_copy(update=self._update(job.request))
            for _ in range(self.repeat):
                yield changed

    def _update(self, request: RenderRequest) -> dict[str, Any]:
        update = dict(self.settings)
        if self.has_new_seeds:
            update["seed"] = None
        if self.scale != 1:
            update |= {name: _scaled(getattr(request, name), self.scale) for name in ("width", "height")}
        return update


def _scaled(side: int | None, scale: float) -> int | None:
    return side and max(SIDE_STEP, round(side * scale / SIDE_STEP) * SIDE_STEP)


def _is_scale(text: str) -> bool:
    try:
        return 0.1 <= float(text) <= 8
    except ValueError:
        return False
