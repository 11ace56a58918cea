"""The last latents of finished jobs become pictures: the range check, the VAE, the pixels on the host.

A picture that is too large to be decoded whole is decoded in tiles, and says so.

What is no picture is told apart by what made it so: latents with NaN or infinities (the UNet), a decoded picture with
them (the VAE). A VAE that runs in half overflows where it would not in float32, so it gets one more try there. Latents
that are only out of the model's range are a picture still, unless its job says otherwise (divergence.py).

Letters: B pictures decoded at once, C latent channels, H W latent size, 3 red, green, blue.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sigmafarm_common.clock import Clock
from sigmafarm_common.job_warnings import WarningCode
from sigmafarm_worker.drawing_engine import Rendered
from sigmafarm_worker.engine.divergence import answer_excess
from sigmafarm_worker.engine.failures import (
    free_cached,
    is_broken,
    is_out_of_memory,
    latents_not_finite,
    picture_not_finite,
    render_error,
)
from sigmafarm_worker.engine.sizes import Sizes, Stage
from sigmafarm_worker.engine.slot import LaneKey, Slot
from sigmafarm_worker.models import Model
from sigmafarm_worker.models.finite import is_finite
from sigmafarm_worker.models.latent_range import measure
from sigmafarm_worker.telling import first_line, tell

#: What became of a job: its picture, why there is none, or the slot in which it is to be drawn again.
Outcome = tuple[Slot, Rendered | Exception | Slot]


#: Seconds for which pictures of a size are decoded in tiles at once, where one of it had no room to be decoded whole:
#: somebody else may have taken the memory, for a while.
TILED_S = 300.0


class _Pixels(NamedTuple):
    """Decoded pictures on the host."""

    #: uint8 [B, height, width, 3].
    pixels: NDArray[np.uint8]
    #: [B], whether every value of the VAE's answer was finite; pixels made of others mean nothing.
    is_finite: list[bool]


class Retiring:
    """Makes pictures of finished latents; knows which models' VAEs overflow in half."""

    def __init__(self, sizes: Sizes, clock: Clock):
        self._sizes, self._clock = sizes, clock
        #: Models of which it was said that their VAE overflows.
        self._told: set[str] = set()
        #: Sizes that are decoded in tiles, until when, in monotonic seconds.
        self._tiled_until_s: dict[LaneKey, float] = {}

    def pictures(
        self, model: Model, slots: Sequence[Slot], x_BCHW: Tensor, drift_B: Tensor, at_once: int
    ) -> Iterator[Outcome]:
        """Yield what became of each slot, in any order, at most `at_once` decoded together, and fewer where memory
        runs out. Device-to-host syncs, once a decoding. Raises nothing but what a broken device raises."""
        try:
            # Device-to-host sync.
            is_finite_B, *figures_3B = torch.cat([is_finite(x_BCHW)[None], measure(x_BCHW, drift_B)]).tolist()
        except Exception as error:  # the per-job guard, here of all that finished together
            failed = self._verdict(slots, error)
            yield from ((slot, failed) for slot in slots)
            return
        kept: list[tuple[Slot, Tensor]] = []
        for i, slot in enumerate(slots):
            if not is_finite_B[i]:
                yield slot, latents_not_finite(slot.request)
                continue
            slot.figures = tuple(figures_B[i] for figures_B in figures_3B)
            excess = model.latent_range.excess(slot.figures)
            if excess and (instead := self._answered(model, slot, excess)):
                yield slot, instead
            else:
                kept.append((slot, x_BCHW[i]))
        for at in range(0, len(kept), at_once):
            part = kept[at : at + at_once]
            yield from self._in_parts(model, [slot for slot, _ in part], [x_CHW for _, x_CHW in part])

    def _answered(self, model: Model, slot: Slot, excess: str) -> Slot | Exception | None:
        """Return what becomes of a slot out of range instead of its picture, None where that is kept."""
        try:
            return answer_excess(model, slot, excess)
        except Exception as error:  # the per-job guard: another table could not be made
            return self._verdict([slot], error)

    def _in_parts(self, model: Model, slots: Sequence[Slot], x: Sequence[Tensor]) -> Iterator[Outcome]:
        """Decode all at once, or, where memory is too small for that, in halves."""
        outcomes = self._decoded(model, slots, x)
        if outcomes is None:
            middle = len(slots) // 2
            yield from self._in_parts(model, slots[:middle], x[:middle])
            yield from self._in_parts(model, slots[middle:], x[middle:])
        else:
            yield from outcomes

    def _decoded(self, model: Model, slots: Sequence[Slot], x: Sequence[Tensor]) -> list[Outcome] | None:
        """Return what became of the slots, None if there is no memory for so many: the error is let go of before the
        next try, for it holds on to all that this one allocated."""
        try:
            x_BCHW = torch.stack(list(x))
            pixels_BHW3, is_finite_B = self._pixels(model, slots, x_BCHW)
            self._sizes.note_done(slots[0].key, Stage.DECODING)
            decoded = zip(slots, pixels_BHW3, is_finite_B, x_BCHW.cpu().numpy(), strict=True)
            return [self._outcome(model, *each) for each in decoded]
        except Exception as error:  # the per-job guard, here of the jobs decoded together
            if len(slots) > 1 and is_out_of_memory(error):
                free_cached(error)
                return None
            failed = self._verdict(slots, error)
            return [(slot, failed) for slot in slots]

    def _pixels(self, model: Model, slots: Sequence[Slot], x_BCHW: Tensor) -> _Pixels:
        """Decode; in tiles where there is no memory for one whole picture, and a tile is smaller."""
        key = slots[0].key
        if self._clock.monotonic_s() >= self._tiled_until_s.get(key, 0.0):
            try:
                return _on_host(*model.decode(x_BCHW))
            except Exception as error:
                is_for_tiles = len(slots) == 1 and model.can_tile(key.height, key.width) and is_out_of_memory(error)
                if not is_for_tiles:
                    raise
                free_cached(error)
                said = f"{key.width} x {key.height}"
                tell("warning", "engine.tiles", model=key.model, size=said, error=first_line(error))
                self._tiled_until_s[key] = self._clock.monotonic_s() + TILED_S
        for slot in slots:
            slot.warn(WarningCode.TILED, _tiled_text(key))
        return _on_host(*model.decode_in_tiles(x_BCHW))

    def _outcome(
        self, model: Model, slot: Slot, pixels: NDArray[np.uint8], is_whole: bool, x_CHW: NDArray[np.float32]
    ) -> Outcome:
        tried = str(model.dtype).removeprefix("torch.")
        if not is_whole and model.dtype.itemsize < torch.float32.itemsize:
            again = self._decoded_in_float32(model, x_CHW)
            tried += " and float32" if again else "; float32 could not be tried"
            pixels, is_whole = (again.pixels[0], again.is_finite[0]) if again else (pixels, False)
        if not is_whole:
            return slot, picture_not_finite(slot.request, tried, out_of_range=slot.warning(WarningCode.DIVERGED))
        seconds = self._clock.monotonic_s() - slot.joined_s
        # Copies: a view would keep the whole batch alive as long as one of its pictures.
        picture = slot.given.finish(pixels) if slot.given else pixels
        return slot, Rendered(
            pixels=picture.copy(),
            latents=x_CHW.copy(),
            request=slot.request,
            seconds=seconds,
            fingerprint=model.fingerprint,
            warnings=slot.warnings,
            inside=slot.inside,
            figures=slot.figures,
        )

    def _decoded_in_float32(self, model: Model, x_CHW: NDArray[np.float32]) -> _Pixels | None:
        """Decode one picture with the VAE cast for it; None if that cannot be done."""
        if model.name not in self._told:
            self._told.add(model.name)
            tell("warning", "engine.vae_overflows", model=model.name, cure="its pictures are decoded again in float32")
        try:
            x_1CHW = torch.from_numpy(x_CHW[None]).to(model.device)
            return _on_host(*model.decode_in_float32(x_1CHW))
        except Exception as error:  # the per-job guard: those decoded with this picture have theirs
            if is_broken(error):
                raise
            tell("warning", "engine.no_float32", model=model.name, error=first_line(error))
            return None

    def _verdict(self, slots: Sequence[Slot], error: Exception) -> Exception:
        if is_out_of_memory(error):
            return self._sizes.shortage(slots[0].key, Stage.DECODING, error, was_alone=len(slots) == 1)
        return render_error(error, Stage.DECODING.value)


def _tiled_text(key: LaneKey) -> str:
    return (
        f"the device had no memory to decode {key.width} x {key.height} pixels whole: they were decoded in tiles that "
        "overlap, and may differ a little from other workers' there; smaller pictures, a lower max_images or a device "
        "with more memory decode whole"
    )


def _on_host(pixels_BHW3: Tensor, is_finite_B: Tensor) -> _Pixels:
    """Return decoded pictures on the host. Device-to-host sync: whether they are finite comes with the pixels."""
    packed_BP = torch.cat([pixels_BHW3.flatten(1), is_finite_B[:, None].to(torch.uint8)], dim=1).cpu().numpy()
    return _Pixels(packed_BP[:, :-1].reshape(pixels_BHW3.shape), packed_BP[:, -1].astype(bool).tolist())
