"""Prompts become embeddings: tokenised to 77 words and encoded as diffusers' pipeline does, and kept by text.

Tokenising runs in the threads that submit; encoding runs in the engine's thread, several prompts in one pass.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sigmafarm_common.errors import PictureNotFinite
from sigmafarm_worker.models.finite import is_finite

#: Embeddings kept by prompt; one of Stable Diffusion 1.x takes 118 KB in fp16.
NUM_CACHED = 512
#: Prompts that one pass of the text encoder takes.
MAX_ENCODED_AT_ONCE = 16


@dataclass(frozen=True)
class Tokens:
    """A prompt as the text encoder reads it."""

    text: str
    #: Always as many as the tokenizer's model_max_length: start, words, end, padding.
    ids: tuple[int, ...]
    #: How many of them are not padding; start and end count.
    num_used: int
    #: Tokens that did not fit and are not drawn, and the end of the text that they are.
    num_cut: int = 0
    cut: str = ""


class PromptEncoder:
    """The tokenizer and the text encoder of one model, with a bounded memory of what they said.

    `tokens` may be called from any thread, `embeddings` from one at a time.
    """

    def __init__(self, tokenizer: Any, text_encoder: Any):
        self._tokenizer, self._text_encoder = tokenizer, text_encoder
        #: Words of every prompt. A tokenizer without a limit of its own takes the text encoder's.
        self.num_tokens = min(tokenizer.model_max_length, text_encoder.config.max_position_embeddings)
        #: Width of an embedding.
        self.width: int = text_encoder.config.hidden_size
        #: The fast tokenizers set their truncation before each call and fail when two threads do it at once.
        self._tokenizing = threading.Lock()
        self._embeddings: OrderedDict[str, Tensor] = OrderedDict()
        #: Passes of the text encoder so far.
        self.num_passes = 0

    def tokens(self, text: str) -> Tokens:
        """Tokenise a prompt to exactly `num_tokens`; what is longer is cut before the end token."""
        limit = self.num_tokens
        with self._tokenizing:
            read = self._tokenizer(text, padding="max_length", max_length=limit, truncation=True)
            num_used = sum(read.attention_mask)
            whole = self._tokenizer(text) if num_used == limit else read
        num_cut = len(whole.input_ids) - len(read.input_ids)
        cut = self._end_of(text, whole, limit) if num_cut else ""
        return Tokens(text, tuple(read.input_ids), num_used, num_cut, cut)

    def _end_of(self, text: str, whole: Any, limit: int) -> str:
        """Return the end of a text that its tokens from the last place of a prompt on are: that place is the end
        token's."""
        if self._tokenizer.is_fast:
            begin, _ = whole.encodings[0].offsets[limit - 1]
            return text[begin:].strip()
        return str(self._tokenizer.decode(whole.input_ids[limit - 1 : -1])).strip()

    def embeddings(self, prompts: Sequence[Tokens]) -> list[Tensor]:
        """Return the [T, D] embedding of each prompt, in the text encoder's dtype on its device.

        Raises PictureNotFinite if one of them is not finite: that one is not remembered, the others are. Device-to-host
        sync, once a pass of the text encoder.
        """
        wanted = {p.text: p for p in prompts}
        found = {text: self._embeddings[text] for text in wanted if text in self._embeddings}
        missing = [p for text, p in wanted.items() if text not in found]
        for at in range(0, len(missing), MAX_ENCODED_AT_ONCE):
            part = missing[at : at + MAX_ENCODED_AT_ONCE]
            encoded = zip((p.text for p in part), self._encode(part), strict=True)
            found.update((text, emb_TD) for text, emb_TD in encoded if emb_TD is not None)
        self._remember(found)
        if len(found) < len(wanted):
            raise PictureNotFinite(
                "the text encoder's embedding of the prompt, or of the negative prompt, is not finite: check the text "
                "encoder's weights, or name another one in the models file"
            )
        return [found[p.text] for p in prompts]

    @torch.inference_mode()
    def _encode(self, prompts: Sequence[Tokens]) -> list[Tensor | None]:
        """Return the embedding of each prompt, None for one that is not finite."""
        self.num_passes += 1
        device = self._text_encoder.device
        ids_BT = torch.tensor([p.ids for p in prompts], device=device)
        mask_BT = None
        # CLIP's encoder reads its padding; only checkpoints that ask for a mask get one, as in diffusers.
        if getattr(self._text_encoder.config, "use_attention_mask", False):
            used_B = torch.tensor([p.num_used for p in prompts], device=device)
            mask_BT = (torch.arange(self.num_tokens, device=device) < used_B[:, None]).long()
        emb_BTD = self._text_encoder(ids_BT, attention_mask=mask_BT).last_hidden_state
        is_finite_B = is_finite(emb_BTD).tolist()  # device-to-host sync
        return [emb_TD.clone() if ok else None for emb_TD, ok in zip(emb_BTD, is_finite_B, strict=True)]

    def _remember(self, found: dict[str, Tensor]) -> None:
        for text, emb_TD in found.items():
            self._embeddings[text] = emb_TD
            self._embeddings.move_to_end(text)
        while len(self._embeddings) > NUM_CACHED:
            self._embeddings.popitem(last=False)
