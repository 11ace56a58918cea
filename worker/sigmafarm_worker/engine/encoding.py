"""Pictures that jobs bring become latents, before these jobs join their lane: a part of the engine's work.

Whatever happens to one job stays with it. Memory that runs out is met with fewer pictures at once, down to one. What
the VAE answers with NaN or infinities in half, it is asked once more in float32; after that the job fails.

Letters: B pictures encoded together, C H W latent channels and size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from sigmafarm_worker.engine.failures import (
    encoding_not_finite,
    free_cached,
    is_broken,
    is_out_of_memory,
    render_error,
)
from sigmafarm_worker.engine.given import Plate
from sigmafarm_worker.engine.sizes import Sizes, Stage
from sigmafarm_worker.engine.slot import Slot
from sigmafarm_worker.models import Model
from sigmafarm_worker.telling import first_line, tell


class Encoding:
    """Encodes what jobs bring; knows which models' VAEs overflow in half."""

    def __init__(self, sizes: Sizes):
        self._sizes = sizes
        #: Models of which it was said that their VAE overflows.
        self._told: set[str] = set()

    def failures(self, model: Model, slots: Sequence[Slot], at_once: int) -> Iterator[tuple[Slot, Exception]]:
        """Encode what the jobs bring, about `at_once` pictures together, and yield those that it failed for; the others
        may join. Device-to-host syncs, one a part. Raises nothing but what a broken device raises."""
        waiting = [slot for slot in slots if slot.given and slot.given.plates]
        num_jobs = max(1, at_once // 2 if model.sees_picture else at_once)
        for at in range(0, len(waiting), num_jobs):
            yield from self._in_parts(model, waiting[at : at + num_jobs])

    def _in_parts(self, model: Model, slots: Sequence[Slot]) -> Iterator[tuple[Slot, Exception]]:
        """Encode all at once, or by halves down to one: then only those fail that are to blame."""
        failed = self._encode(model, slots)
        if failed is None:
            return
        if len(slots) == 1:
            yield slots[0], failed
            return
        middle = len(slots) // 2
        yield from self._in_parts(model, slots[:middle])
        yield from self._in_parts(model, slots[middle:])

    def _encode(self, model: Model, slots: Sequence[Slot]) -> Exception | None:
        """Encode what some jobs bring. Return why not, if not: then those that have their latents keep them."""
        try:
            plates = [(slot, plate) for slot in slots if slot.given for plate in slot.given.plates]
            latents = iter(self._latents(model, plates) if plates else ())
            self._sizes.note_done(slots[0].key, Stage.ENCODING)
            for slot in slots:
                if slot.given and slot.given.plates:
                    slot.given.take([next(latents) for _ in slot.given.plates], slot.noise)
        except Exception as error:  # the per-job guard, here of the jobs encoded together
            if is_out_of_memory(error):
                free_cached(error)
                return self._sizes.shortage(slots[0].key, Stage.ENCODING, error, was_alone=len(slots) == 1)
            return render_error(error, Stage.ENCODING.value)
        return None

    def _latents(self, model: Model, plates: Sequence[tuple[Slot, Plate]]) -> list[Tensor]:
        """Return the scaled latents [C, H, W] of plates, on the device."""
        x_B3HW = torch.cat([_as_input(plate, model.device) for _, plate in plates])
        noise_BCHW = torch.stack([_noise(slot, plate) for slot, plate in plates]).to(model.device)
        x_BCHW, is_finite_B = model.encode(x_B3HW, noise_BCHW)
        # Device-to-host sync.
        finite = is_finite_B.tolist()
        rows = zip(finite, x_BCHW, plates, x_B3HW, noise_BCHW, strict=True)
        return [
            x if is_whole else self._again(model, slot, plate, noise) for is_whole, x, (slot, _), plate, noise in rows
        ]

    def _again(self, model: Model, slot: Slot, x_3HW: Tensor, noise_CHW: Tensor) -> Tensor:
        """Encode one picture in float32. Raises PictureNotFinite if that is of no use, or cannot be done."""
        tried = str(model.dtype).removeprefix("torch.")
        if model.dtype.itemsize < torch.float32.itemsize:
            found = self._in_float32(model, x_3HW, noise_CHW)
            if found is not None and bool(found.isfinite().all()):
                return found
            tried += " and float32" if found is not None else "; float32 could not be tried"
        raise encoding_not_finite(slot.request, tried)

    def _in_float32(self, model: Model, x_3HW: Tensor, noise_CHW: Tensor) -> Tensor | None:
        if model.name not in self._told:
            self._told.add(model.name)
            tell("warning", "engine.vae_overflows", model=model.name, cure="pictures are encoded again in float32")
        try:
            return model.encode_in_float32(x_3HW[None], noise_CHW[None])[0][0]
        except Exception as error:  # the per-job guard: those encoded with this picture have theirs
            if is_broken(error):
                raise
            tell("warning", "engine.no_float32", model=model.name, error=first_line(error))
            return None


def _as_input(plate: Plate, device: torch.device) -> Tensor:
    """Return a plate as the encoder takes it: float32 [1, 3, height, width] from -1 to 1, 0 where there is a hole."""
    x_HW3 = torch.from_numpy(plate.pixels).to(device).float() / 255 * 2 - 1
    if plate.hole is not None:
        x_HW3[torch.from_numpy(plate.hole).to(device)] = 0
    return x_HW3.permute(2, 0, 1)[None]


def _noise(slot: Slot, plate: Plate) -> Tensor:
    return plate.noise if plate.noise is not None else torch.zeros_like(slot.noise)
