"""The tensors of a lane: its slots' latents, histories and tables, and the pass that moves them all by one row.

Slots are kept compact: the slot at place i of `slots` stands at index i of every tensor, so that a pass works on
slices. All slots of a lane step together, so that one ring pointer serves every history. What changes only when
somebody joins, leaves, or begins or ends to be guided (which row belongs to whom, the embeddings by row) is laid out
once for that; a pass itself has no loop over slots, and no transfer between host and device, but for the noise of those
whose samplers draw some: each from its own generator, on the host, so that a seed gives the same picture anywhere.

Letters: S slots, R rows, C channels, H W latent size, K ring positions, N calls, F table columns, T tokens, D width.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sigmafarm_worker.engine.copying import to_device
from sigmafarm_worker.engine.drift import Drift
from sigmafarm_worker.engine.noise import Noise
from sigmafarm_worker.engine.outside import Outside
from sigmafarm_worker.engine.slot import LaneKey, Slot
from sigmafarm_worker.engine.unet_pass import UnetPass
from sigmafarm_worker.models import LATENT_CHANNELS, Model
from sigmafarm_worker.sampling.step import guide, kept, move
from sigmafarm_worker.sampling.table import COEFFICIENTS, HISTORY, NOISE, NUM_COLUMNS, NUM_FIRST, OUTSIDE, SEEN

#: The most rows of a table: two for each of the steps that RenderRequest allows.
MAX_CALLS = 2000


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
    #: [R, T], which of its tokens a row has; None where all rows have all.
    mask: Tensor | None


class Lane:
    """The slots of one model and size on one device."""

    def __init__(self, model: Model, key: LaneKey, capacity: int, unet_pass: UnetPass):
        self.key, self.model, self.capacity = key, model, capacity
        #: Who is inside; replaced whole when somebody joins or leaves.
        self.slots: list[Slot] = []
        #: Passes so far. A slot's row of its table is the number of passes since it joined.
        self.num_passes = 0
        self._unet_pass = unet_pass
        self._next_end = 0
        #: The count of passes at which the layout does not hold any more: somebody's number of rows changes.
        self._next_change = 0
        #: Those whose samplers draw noise.
        self._noisy: list[Slot] = []
        self._noise = Noise()
        #: None when somebody left since the last pass.
        self._layout: _Layout | None = None
        #: That of the last pass, and whether it was the first with it.
        self._last_layout: _Layout | None = None
        self.has_new_layout = True
        #: What masks leave as it is; None while nobody inside has one.
        self._outside: Outside | None = None
        self._allocate(capacity, key.height // model.vae_factor, key.width // model.vae_factor)

    def _allocate(self, S: int, H: int, W: int) -> None:
        C, device = LATENT_CHANNELS, self.model.device
        T, D = self.model.prompts.num_tokens, self.model.prompts.width
        self._x_SCHW = torch.zeros(S, C, H, W, device=device)
        self._history_KSCHW = torch.zeros(HISTORY, S, C, H, W, device=device)
        self._table_SNF = torch.zeros(S, MAX_CALLS, NUM_COLUMNS, device=device)
        self._call_S = torch.zeros(S, dtype=torch.long, device=device)
        self._scale_S = torch.zeros(S, device=device)
        self._cond_STD = torch.zeros(S, T, D, dtype=self.model.dtype, device=device)
        self._uncond_STD = torch.zeros_like(self._cond_STD)
        self._index_S = torch.arange(S, device=device)
        #: What a model with channels of its own for that sees of given pictures: the mask, the rest's latents.
        num_seen = self.model.num_channels - C
        self._seen_SCHW = torch.zeros(S, num_seen, H, W, device=device) if num_seen else None
        #: None for a model that says nothing of it.
        self._drift = Drift(self._x_SCHW) if self.model.latent_range.judges_drift else None
        #: For each place of the ring's head: how old the h at each ring position is.
        age_KK = [[(head - position) % HISTORY for position in range(HISTORY)] for head in range(HISTORY)]
        self._age_KK = torch.tensor(age_KK, device=device)

    @property
    def num_rows(self) -> int:
        """Rows that the jobs of the last pass cost."""
        return self._layout.num_rows if self._layout else 0

    @property
    def num_padded_rows(self) -> int:
        """Rows of the last pass that belonged to nobody."""
        return self._layout.num_padded_rows if self._layout else 0

    def _make_room(self, num_tokens: int) -> None:
        """Let embeddings of so many tokens in. What there is keeps its place."""
        more = num_tokens - self._cond_STD.shape[1]
        if more > 0:
            longer = [torch.nn.functional.pad(each, (0, 0, 0, more)) for each in (self._cond_STD, self._uncond_STD)]
            self._cond_STD, self._uncond_STD = longer

    def join(self, slots: Sequence[Slot], cond: Sequence[Tensor], uncond: Sequence[Tensor | None]) -> None:
        """Give each slot a place; `cond` and `uncond` are their embeddings [T, D] (None for an unguided slot).

        All of them join, or none: what raises leaves those inside as they were, for nothing is said of a place before
        all is written there.
        """
        assert len(self.slots) + len(slots) <= self.capacity
        self._make_room(max(len(emb_TD) for emb_TD in (*cond, *uncond) if emb_TD is not None))
        tables = [torch.tensor(slot.table.rows, dtype=torch.float32) for slot in slots]
        moved = to_device([*(slot.noise for slot in slots), *tables], self.model.device)
        hosts = zip(moved[: len(slots)], moved[len(slots) :], strict=True)
        joining = zip(slots, hosts, cond, uncond, strict=True)
        for i, (slot, (noise, table), cond_TD, uncond_TD) in enumerate(joining, start=len(self.slots)):
            self._write(i, slot, noise, table)
            self._cond_STD[i, : len(cond_TD)] = cond_TD
            if uncond_TD is not None:
                self._uncond_STD[i, : len(uncond_TD)] = uncond_TD
        after = [*self.slots, *slots]
        for slot in slots:
            slot.joined_at, slot.ends_at = self.num_passes, self.num_passes + slot.table.num_calls
        self._stand(after, self._lay_out(after))

    def _write(self, i: int, slot: Slot, noise_CHW: Tensor, table_NF: Tensor) -> None:
        """Write what a slot begins with to its place; its noise and its table are on the device."""
        device, given = self.model.device, slot.given
        self._x_SCHW[i] = self._first(slot, noise_CHW)
        # What the last owner left could be infinite, and 0 times that is no 0.
        self._history_KSCHW[:, i] = 0
        self._table_SNF[i, : len(table_NF)] = table_NF
        self._call_S[i] = 0
        self._scale_S[i] = float(slot.request.guidance_scale or 0)
        if self._drift is not None:
            self._drift.begin(i, None if given is None or given.mask is None else given.mask.to(device))

        if self._outside is None and given is not None and given.is_put_back:
            self._outside = Outside(self._x_SCHW)
        if self._outside is not None:
            self._outside.write(i, slot)
        if self._seen_SCHW is not None and given is not None and given.seen_latents is not None:
            self._seen_SCHW[i, 0] = 1 if given.mask is None else given.mask[0].to(device)
            self._seen_SCHW[i, 1:] = given.seen_latents

    @staticmethod
    def _first(slot: Slot, noise_CHW: Tensor) -> Tensor:
        """Return a slot's first latents [C, H, W]: its noise, or its picture with noise in it."""
        table, given = slot.table, slot.given
        if given is None or given.is_noise_alone or given.picture_latents is None:
            return noise_CHW * table.init_noise_sigma
        return table.start.scale * given.picture_latents + table.start.noise * noise_CHW

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
        per_slot = (self._x_SCHW, self._table_SNF, self._call_S, self._scale_S, self._cond_STD, self._uncond_STD)
        for tensor in (*per_slot, *([] if self._seen_SCHW is None else [self._seen_SCHW])):
            tensor[target] = tensor[source]
        if self._outside is not None:
            self._outside.move(source, target)
        if self._drift is not None:
            self._drift.move(source, target)

    def _stand(self, slots: list[Slot], layout: _Layout | None) -> None:
        """Make this the order of the places. Cannot fail."""
        self.slots, self._layout = slots, layout
        self._next_end = min((slot.ends_at for slot in slots), default=0)
        self._next_change = min((slot.next_change(self.num_passes) for slot in slots), default=0)
        self._noisy = [slot for slot in slots if slot.table.is_noisy]
        if self._outside is not None and not any(slot.given and slot.given.is_put_back for slot in slots):
            self._outside = None

    def _lay_out(self, slots: Sequence[Slot]) -> _Layout:
        """Decide which row belongs to which slot: conditional rows, unconditional ones, then padding (slot 0's)."""
        num_slots = len(slots)
        guided = [i for i, slot in enumerate(slots) if slot.is_guided_at(self.num_passes)]
        slot_R = [*range(num_slots), *guided]
        num_padded = self._unet_pass.padded(len(slot_R), *self._x_SCHW.shape[2:]) - len(slot_R)
        uncond_row_S = list(range(num_slots))
        for row, i in enumerate(guided, start=num_slots):
            uncond_row_S[i] = row
        said = [torch.tensor(each, dtype=torch.long) for each in (guided, slot_R + [0] * num_padded, uncond_row_S)]
        guided_G, slots_R, uncond_rows_S = to_device(said, self.model.device)
        tokens_R = [slot.prompt.num_tokens for slot in slots]
        tokens_R += [slots[i].negative_tokens for i in guided] + tokens_R[:1] * num_padded
        T = max(tokens_R)
        padding_PTD = self._cond_STD[:1, :T].expand(num_padded, -1, -1)
        return _Layout(
            len(slot_R),
            num_padded,
            slots_R,
            uncond_rows_S,
            torch.cat([self._cond_STD[:num_slots, :T], self._uncond_STD[guided_G, :T], padding_PTD]),
            _mask(tokens_R, self.model.device),
        )

    @torch.inference_mode()
    def advance(self) -> None:
        """Move every slot by one row of its table: one UNet pass, guidance, what is kept of it, the move. After an
        error nobody may go on from here: some may have moved."""
        if self._layout is None or self.num_passes >= self._next_change:
            self._stand(self.slots, self._lay_out(self.slots))
        rows = self._layout
        assert rows is not None
        self.has_new_layout, self._last_layout = rows is not self._last_layout, rows
        S, head = len(self.slots), self.num_passes % HISTORY
        x_SCHW, history_KSCHW = self._x_SCHW[:S], self._history_KSCHW[:, :S]
        now_SF = self._table_SNF[self._index_S[:S], self._call_S[:S]]
        t_S, c_in_S, a_S, b_S, alpha_S = now_SF[:, :NUM_FIRST].unbind(1)
        in_SCHW = x_SCHW * c_in_S[:, None, None, None]
        if self._seen_SCHW is not None:
            in_SCHW = torch.cat([in_SCHW, self._seen_SCHW[:S]], dim=1)

        text = (rows.emb,) if rows.mask is None else (rows.emb, rows.mask)
        out_RCHW = self._unet_pass(in_SCHW[rows.slots], t_S[rows.slots], *text)

        if self._drift is not None:
            self._drift.add(x_SCHW, out_RCHW[:S], now_SF[:, SEEN])
        out_SCHW = guide(out_RCHW, rows.uncond_rows, self._scale_S[:S])
        history_KSCHW[head] = kept(x_SCHW, out_SCHW, a_S, b_S)
        move(x_SCHW, history_KSCHW, alpha_S, now_SF[:, COEFFICIENTS][:, self._age_KK[head]])
        if any(slot.draws_at(self.num_passes) for slot in self._noisy):
            x_SCHW += now_SF[:, NOISE, None, None, None] * self._noise.draw(self.slots, self.num_passes, x_SCHW)
        if self._outside is not None:
            self._outside.put_back(x_SCHW, now_SF[:, OUTSIDE])
        self._call_S[:S] += 1
        self.num_passes += 1

    def finished(self) -> list[Slot]:
        """Return the slots that have made their last step."""
        if self.num_passes < self._next_end:
            return []
        return [slot for slot in self.slots if slot.ends_at <= self.num_passes]

    @torch.inference_mode()
    def foreseen(self) -> Tensor:
        """Return where each slot is heading [S, C, H, W], on the host: the picture that its newest call still sees in
        its latents. Device-to-host sync.

        For a sampler that walks in sigma that is the Euler step to sigma 0, x - sigma dx/dsigma (Karras et al. 2022,
        equation 1).
        """
        S = len(self.slots)
        seen_S2 = np.array([slot.table.previews[self.num_passes - 1 - slot.joined_at] for slot in self.slots])
        p_S, q_S = torch.tensor(seen_S2, dtype=torch.float32, device=self.model.device)[..., None, None, None].unbind(1)
        newest_SCHW = self._history_KSCHW[(self.num_passes - 1) % HISTORY, :S]
        return (p_S * self._x_SCHW[:S] + q_S * newest_SCHW).cpu()

    def latents(self, slots: Sequence[Slot]) -> Tensor:
        """Return a copy of some slots' latents [B, C, H, W], on the device."""
        return torch.stack([self._x_SCHW[self.slots.index(slot)] for slot in slots])

    @torch.inference_mode()
    def drift(self, slots: Sequence[Slot], x_BCHW: Tensor) -> Tensor:
        """Return how far some slots' finished latents are from what the network saw on the way [B], on the device: 0
        with a model that says nothing of it."""
        if self._drift is None:
            return x_BCHW.new_zeros(len(slots))
        return self._drift.of([self.slots.index(slot) for slot in slots], x_BCHW)


def _mask(tokens_R: Sequence[int], device: torch.device) -> Tensor | None:
    """Return which tokens each row has [R, T], None where all have all: rows with prompts of one length, most of the
    time."""
    T = max(tokens_R)
    if min(tokens_R) == T:
        return None
    return torch.arange(T, device=device) < torch.tensor(tokens_R, device=device)[:, None]
