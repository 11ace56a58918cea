"""The last latents of finished jobs become pictures: the range check, the VAE, the pixels on the host.

Letters: B pictures decoded at once, C latent channels, H W latent size, 3 red, green, blue.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from torch import Tensor

from sigmafarm_common.clock import Clock
from sigmafarm_worker.failures import diverged, is_out_of_memory, render_error
from sigmafarm_worker.models import Model
from sigmafarm_worker.slot import Rendered, Slot

#: What became of a job: its picture, or why there is none.
Outcome = tuple[Slot, Rendered | Exception]


def pictures(model: Model, slots: Sequence[Slot], x_BCHW: Tensor, at_once: int, clock: Clock) -> Iterator[Outcome]:
    """Yield what became of each slot, in any order, at most `at_once` decoded together. A trajectory that left any
    sane range has no picture; where memory runs out, fewer are decoded at once. Device-to-host syncs, once a decoding.
    """
    rms_B = x_BCHW.square().mean(dim=(1, 2, 3)).sqrt().tolist()
    sane = [i for i, rms in enumerate(rms_B) if math.isfinite(rms) and rms <= model.max_latent_rms]
    for i in set(range(len(slots))).difference(sane):
        yield slots[i], diverged(slots[i].request, rms_B[i], model.max_latent_rms)
    for at in range(0, len(sane), at_once):
        part = sane[at : at + at_once]
        yield from _in_parts(model, [slots[i] for i in part], x_BCHW[part], clock)


def _in_parts(model: Model, slots: Sequence[Slot], x_BCHW: Tensor, clock: Clock) -> Iterator[Outcome]:
    """Decode all at once, or, where memory is too small for that, in halves."""
    outcomes = _decoded(model, slots, x_BCHW, clock)
    if outcomes is None:
        middle = len(slots) // 2
        yield from _in_parts(model, slots[:middle], x_BCHW[:middle], clock)
        yield from _in_parts(model, slots[middle:], x_BCHW[middle:], clock)
    else:
        yield from outcomes


def _decoded(model: Model, slots: Sequence[Slot], x_BCHW: Tensor, clock: Clock) -> list[Outcome] | None:
    """Return what became of the slots, None if there is no memory for so many: the error is let go of before the next
    try, for it holds on to all that this one allocated."""
    try:
        pixels_BHW3 = model.decode(x_BCHW).cpu().numpy()
        x_host_BCHW = x_BCHW.cpu().numpy()
    except Exception as error:  # the per-job guard, here of the jobs decoded together
        if len(slots) > 1 and is_out_of_memory(error):
            return None
        return [(slot, render_error(error)) for slot in slots]
    now_s = clock.monotonic_s()
    # Copies: a view would keep the whole batch alive as long as one of its pictures.
    return [
        (slot, Rendered(pixels.copy(), x_CHW.copy(), slot.request, now_s - slot.joined_s, slot.num_cut_tokens))
        for slot, pixels, x_CHW in zip(slots, pixels_BHW3, x_host_BCHW, strict=True)
    ]
