"""What the device had memory for: tells a passing shortage from a picture that is too large for it.

A piece of work that was done once for a picture of some size can be done again, so that memory which runs out at this
size or below is short for now, and the job is tried again. A size that never was done, though it was tried alone (one
slot, one row, one picture), is too large for the device: another try on its like would end the same way.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from sigmafarm_common.errors import OutOfDeviceMemory, PictureTooLarge
from sigmafarm_worker.engine.slot import LaneKey
from sigmafarm_worker.models import Model
from sigmafarm_worker.telling import first_line


class Stage(Enum):
    """The pieces of the work, in a sentence's words."""

    #: Room for latents, histories and tables.
    OPENING = "opening a lane"
    #: Its prompts and its place in the lane, which cost the same for any size.
    JOINING = "letting the job in"
    #: The VAE's other half, for pictures that jobs bring.
    ENCODING = "encoding the given picture"
    #: The UNet.
    PASSING = "the pass"
    #: The VAE.
    DECODING = "decoding the picture"


class Sizes:
    """The largest picture that each stage was done for, by model. The native size counts as done from the start: a
    worker draws it before it says ready."""

    def __init__(self, models: Mapping[str, Model]):
        self._models = models
        self._done: dict[tuple[str, Stage], LaneKey] = {}

    def note_done(self, key: LaneKey, stage: Stage) -> None:
        """Remember that a stage was done for a picture of this lane."""
        if _num_pixels(key) > _num_pixels(self._largest(key, stage)):
            self._done[key.model, stage] = key

    def shortage(self, key: LaneKey, stage: Stage, error: BaseException, *, was_alone: bool) -> OutOfDeviceMemory:
        """Return the farm's error for memory that ran out at a stage with pictures of this lane; `was_alone` if there
        could not have been less to do at once."""
        largest, said = self._largest(key, stage), first_line(error)
        if not was_alone or stage is Stage.JOINING or _num_pixels(key) <= _num_pixels(largest):
            cure = "lower max_images, or draw smaller pictures"
            return OutOfDeviceMemory(f"the device has no memory left for {stage.value} ({said}): {cure}")
        device = self._models[key.model].device
        return PictureTooLarge(
            f"{key.width} x {key.height} is too large for this device ({device}): {stage.value} found no memory even "
            f"for one picture alone ({said}); draw at most {largest.width} x {largest.height}, which was drawn here, "
            "or give the job to workers with more memory"
        )

    def _largest(self, key: LaneKey, stage: Stage) -> LaneKey:
        model = self._models[key.model]
        return self._done.get((key.model, stage)) or LaneKey(key.model, model.height, model.width)


def _num_pixels(key: LaneKey) -> int:
    return key.height * key.width
