"""The tensors of a lane: its slots' latents, derivative history and tables, and the pass that moves them all one step.

Slots are kept compact: the slot at place i of `slots` stands at index i of every tensor, so that a pass works on
slices. All slots of a lane step together, so that one ring pointer serves every history. What changes only when
somebody joins or leaves (which row belongs to whom, the embeddings by row) is laid out once for that; a pass itself has
no loop over slots, and no transfer between host and device.

Letters: S slots, R rows, C channels, H W latent size, K ring positions, N steps, F table columns, T tokens, D width.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sigmafarm_worker.engine.slot import LaneKey, Slot
from sigmafarm_worker.engine.unet_pass import UnetPass
from sigmafarm_worker.models import LATENT_CHANNELS, Model
from sigmafarm_worker.sampling.guidance import derivative, guide, lms_increment
from sigmafarm_worker.sampling.lms import MAX_ORDER

#: Longest schedule that the tables hold, as RenderRequest allows.
MAX_STEPS = 1000
#: Columns of a table's row before its coefficients: timestep, input scale, and the derivative's a and b.
_NUM_COLUMNS = 4 + MAX_ORDER


@dataclass(frozen=True, eq=False)
class _Layout:
    """Which row of a pass belongs to which slot."""

    #: Rows that the jobs cost, and rows that belong to nobody.
    num_rows: int
    num_padded_rows: int
    #: [R] each row's slot, [S] each slot's unconditional row, [R, T, D] each row's embedding.
    slots: Tensor
    uncond_rows: Tensor
    emb: Tensor


class Lane:
    """The slots of one model and size on one device."""

    def __init__(self, model: Model, key: LaneKey, capacity: int, unet_pass: UnetPass):
        self.key, self.model, self.capacity = key, model, capacity
        #: Who is inside; replaced whole when somebody joins or leaves.
        self.slots: list[Slot] = []
        #: Passes so far. A slot's step is the number of passes since it joined.
        self.num_passes = 0
        self._unet_pass = unet_pass
        self._next_end = 0
        #: None when somebody left since the last pass.
        self._layout: _Layout | None = None
        self._allocate(capacity, key.height // model.vae_factor, key.width // model.vae_factor)

    def _allocate(self, S: int, H: int, W: int) -> None:
        C, device = LATENT_CHANNELS, self.model.device
        T, D = self.model.prompts.num_tokens, self.model.prompts.width
        self._x_SCHW = torch.zeros(S, C, H, W, device=device)
        self._history_KSCHW = torch.zeros(MAX_ORDER, S, C, H, W, device=device)
        self._table_SNF = torch.zeros(S, MAX_STEPS, _NUM_COLUMNS, device=device)
        self._step_S = torch.zeros(S, dtype=torch.long, device=device)
        self._scale_S = torch.zeros(S, device=device)
        self._cond_STD = torch.zeros(S, T, D, dtype=self.model.dtype, device=device)
        self._uncond_STD = torch.zeros_like(self._cond_STD)
        self._index_S = torch.arange(S, device=device)
        #: For each place of the ring's head: how old the derivative at each ring position is.
        age_KK = [[(head - position) % MAX_ORDER for position in range(MAX_ORDER)] for head in range(MAX_ORDER)]
        self._age_KK = torch.tensor(age_KK, device=device)

    @property
    def num_rows(self) -> int:
        """Rows that the jobs of the last pass cost."""
        return self._layout.num_rows if self._layout else 0

    @property
    def num_padded_rows(self) -> int:
        """Rows of the last pass that belonged to nobody."""
        return self._layout.num_padded_rows if self._layout else 0

    def join(self, slots: Sequence[Slot], cond: Sequence[Tensor], uncond: Sequence[Tensor | None]) -> None:
        """Give each slot a place; `cond` and `uncond` are their embeddings [T, D] (None for an unguided slot).

        All of them join, or none: what raises leaves those inside as they were, for nothing is said of a place before
        all is written there.
        """
        assert len(self.slots) + len(slots) <= self.capacity
        for i, (slot, cond_TD, uncond_TD) in enumerate(zip(slots, cond, uncond, strict=True), start=len(self.slots)):
            self._write(i, slot, cond_TD, uncond_TD)
        after = [*self.slots, *slots]
        layout = self._laid_out(after)
        for slot in slots:
            slot.joined_at, slot.ends_at = self.num_passes, self.num_passes + slot.schedule.num_steps
        self._stand(after, layout)

    def _write(self, i: int, slot: Slot, cond_TD: Tensor, uncond_TD: Tensor | None) -> None:
        device, num_steps = self.model.device, slot.schedule.num_steps
        self._x_SCHW[i] = (slot.noise * slot.schedule.init_noise_sigma).to(device)
        # What the last owner left could be infinite, and 0 times that is no 0.
        self._history_KSCHW[:, i] = 0
        self._table_SNF[i, :num_steps] = torch.from_numpy(slot.schedule.table()).to(device)
        self._step_S[i] = 0
        self._scale_S[i] = float(slot.request.guidance_scale or 0)
        self._cond_STD[i] = cond_TD
        if uncond_TD is not None:
            self._uncond_STD[i] = uncond_TD

    def leave(self, slots: Iterable[Slot]) -> None:
        """Take slots out; the last slots move into their places. Needs no memory: the next pass lays the rows out."""
        after = list(self.slots)
        for slot in slots:
            i, last = after.index(slot), len(after) - 1
            if i != last:
                self._move(last, i)
                after[i] = after[last]
            after.pop()
        self._stand(after, None)

    def _move(self, source: int, target: int) -> None:
        self._history_KSCHW[:, target] = self._history_KSCHW[:, source]
        per_slot = (self._x_SCHW, self._table_SNF, self._step_S, self._scale_S, self._cond_STD, self._uncond_STD)
        for tensor in per_slot:
            tensor[target] = tensor[source]

    def _stand(self, slots: list[Slot], layout: _Layout | None) -> None:
        """Make this the order of the places. Cannot fail."""
        self.slots, self._layout = slots, layout
        self._next_end = min((slot.ends_at for slot in slots), default=0)

    def _laid_out(self, slots: Sequence[Slot]) -> _Layout:
        """Decide which row belongs to which slot: conditional rows, unconditional ones, then padding (slot 0's)."""
        num_slots = len(slots)
        guided = [i for i, slot in enumerate(slots) if slot.negative is not None]
        slot_R = [*range(num_slots), *guided]
        num_padded = self._unet_pass.padded(len(slot_R)) - len(slot_R)
        uncond_row_S = list(range(num_slots))
        for row, i in enumerate(guided, start=num_slots):
            uncond_row_S[i] = row
        device = self.model.device
        guided_G = torch.tensor(guided, dtype=torch.long, device=device)
        padding_PTD = self._cond_STD[:1].expand(num_padded, -1, -1)
        return _Layout(
            len(slot_R),
            num_padded,
            torch.tensor(slot_R + [0] * num_padded, dtype=torch.long, device=device),
            torch.tensor(uncond_row_S, dtype=torch.long, device=device),
            torch.cat([self._cond_STD[:num_slots], self._uncond_STD[guided_G], padding_PTD]),
        )

    @torch.inference_mode()
    def advance(self) -> None:
        """Move every slot one step: one UNet pass, guidance, the derivative, the LMS update. After an error nobody may
        go on from here: some may have moved."""
        if self._layout is None:
            self._layout = self._laid_out(self.slots)
        rows = self._layout
        S, head = len(self.slots), self.num_passes % MAX_ORDER
        x_SCHW = self._x_SCHW[:S]
        now_SF = self._table_SNF[self._index_S[:S], self._step_S[:S]]
        t_S, c_in_S, a_S, b_S, c_SK = now_SF[:, 0], now_SF[:, 1], now_SF[:, 2], now_SF[:, 3], now_SF[:, 4:]
        in_SCHW = x_SCHW * c_in_S[:, None, None, None]

        out_RCHW = self._unet_pass(in_SCHW[rows.slots], t_S[rows.slots], rows.emb)

        out_SCHW = guide(out_RCHW, rows.uncond_rows, self._scale_S[:S])
        self._history_KSCHW[head, :S] = derivative(x_SCHW, out_SCHW, a_S, b_S)
        x_SCHW += lms_increment(self._history_KSCHW[:, :S], c_SK[:, self._age_KK[head]])
        self._step_S[:S] += 1
        self.num_passes += 1

    def finished(self) -> list[Slot]:
        """Return the slots that have made their last step."""
        if self.num_passes < self._next_end:
            return []
        return [slot for slot in self.slots if slot.ends_at <= self.num_passes]

    @torch.inference_mode()
    def foreseen(self) -> Tensor:
        """Return where each slot is heading [S, C, H, W], on the host: its latents less the noise that its newest
        derivative still sees in them. Device-to-host sync.

        For the Euler step to sigma 0 that is x - sigma dx/dsigma (Karras et al. 2022, equation 1).
        """
        S = len(self.slots)
        sigma = [slot.schedule.sigmas[self.num_passes - slot.joined_at] for slot in self.slots]
        sigma_S = torch.tensor(sigma, dtype=torch.float32, device=self.model.device)
        newest_SCHW = self._history_KSCHW[(self.num_passes - 1) % MAX_ORDER, :S]
        return (self._x_SCHW[:S] - sigma_S[:, None, None, None] * newest_SCHW).cpu()

    def latents(self, slots: Sequence[Slot]) -> Tensor:
        """Return a copy of some slots' latents [B, C, H, W], on the device."""
        return torch.stack([self._x_SCHW[self.slots.index(slot)] for slot in slots])
