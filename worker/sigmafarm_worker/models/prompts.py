"""Prompts become embeddings: read by one of two syntaxes, encoded as diffusers' pipeline does, and kept.

Plain prompts are cut to the text encoder's 77 tokens. AUTOMATIC1111's may weigh words (weighted_text.py) and be longer
(chunks.py): each chunk is encoded by itself, its hidden states are multiplied by the weights and brought back to their
mean, and the chunks stand behind each other.

Tokenising runs in the threads that submit; encoding runs in the engine's thread, several prompts in one pass.

Letters: B chunks, T tokens, D width.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from sigmafarm_common.errors import PictureNotFinite
from sigmafarm_common.settings import PromptSyntax
from sigmafarm_worker.models.finite import is_finite
from sigmafarm_worker.models.inversions import Inversions
from sigmafarm_worker.models.reading import Reader, Tokens

#: Chunks whose embeddings are kept; one of Stable Diffusion 1.x takes 118 KB in fp16.
NUM_CACHED = 512
#: Chunks that one pass of the text encoder takes.
MAX_ENCODED_AT_ONCE = 16


class PromptEncoder:
    """The tokenizer and the text encoder of one model, with a bounded memory of what they said.

    `tokens` may be called from any thread, `embeddings` from one at a time.
    """

    def __init__(self, tokenizer: Any, text_encoder: Any, inversions: Inversions | None = None):
        self._text_encoder = text_encoder
        #: Tokens of a chunk. A tokenizer without a limit of its own takes the text encoder's.
        self.num_tokens = min(tokenizer.model_max_length, text_encoder.config.max_position_embeddings)
        #: Width of an embedding, and layers that it is the outcome of.
        self.width: int = text_encoder.config.hidden_size
        self.num_layers: int = text_encoder.config.num_hidden_layers
        self._reader = Reader(tokenizer, self.num_tokens, inversions or {})
        self._embeddings: OrderedDict[Tokens, Tensor] = OrderedDict()
        #: Passes of the text encoder so far.
        self.num_passes = 0

    def tokens(self, text: str, syntax: PromptSyntax = PromptSyntax.PLAIN, clip_skip: int = 1) -> Tokens:
        """Read a prompt; a plain one is cut to `num_tokens` before its end token.

        `clip_skip` is the layer of the text encoder that it is to come from, counted from the last one, 1.
        """
        if syntax is PromptSyntax.A1111:
            return self._reader.read_weighted(text, clip_skip)
        return self._reader.read_plain(text, clip_skip)

    def spelled(self, ids: Sequence[int]) -> list[tuple[int, str]]:
        """Return the tokens of one chunk up to its end, without the padding behind it, and what each stands for."""
        return self._reader.spelled(ids)

    def embeddings(self, prompts: Sequence[Tokens]) -> list[Tensor]:
        """Return the embedding of each prompt, [T, D] with T the number of its tokens, in the text encoder's dtype on
        its device.

        Raises PictureNotFinite if one of them is not finite: that one is not remembered, the others are. Device-to-host
        sync, once a pass of the text encoder.
        """
        wanted = dict.fromkeys(prompts)
        found = {each: self._embeddings[each] for each in wanted if each in self._embeddings}
        missing = [each for each in wanted if each not in found]
        found.update(self._encoded(missing))
        self._remember(found)
        if len(found) < len(wanted):
            raise PictureNotFinite(
                "the text encoder's embedding of the prompt, or of the negative prompt, is not finite: check the text "
                "encoder's weights, or name another one in the models file"
            )
        return [found[each] for each in prompts]

    def _encoded(self, prompts: Sequence[Tokens]) -> dict[Tokens, Tensor]:
        """Return the embeddings of those of which all is finite."""
        chunks = [(each, n) for each in prompts for n in range(self.num_chunks(each))]
        parts: dict[Tokens, list[Tensor]] = {each: [] for each in prompts}
        for at in range(0, len(chunks), MAX_ENCODED_AT_ONCE):
            part = chunks[at : at + MAX_ENCODED_AT_ONCE]
            for (each, _), emb_TD in zip(part, self._encode(part), strict=True):
                if emb_TD is not None:
                    parts[each].append(emb_TD)
        return {
            each: found[0] if len(found) == 1 else torch.cat(found)
            for each, found in parts.items()
            if len(found) == self.num_chunks(each)
        }

    def num_chunks(self, prompt: Tokens) -> int:
        """Return how many chunks a prompt has."""
        return len(prompt.ids) // self.num_tokens

    @torch.inference_mode()
    def _encode(self, chunks: Sequence[tuple[Tokens, int]]) -> list[Tensor | None]:
        """Return the embedding of each chunk (a prompt, and which of its chunks), None for one that is not finite."""
        self.num_passes += 1
        device, size = self._text_encoder.device, self.num_tokens
        ids_BT = torch.tensor([each.ids[n * size : (n + 1) * size] for each, n in chunks], device=device)
        mask_BT = None
        # CLIP's encoder reads its padding; only checkpoints that ask for a mask get one, as in diffusers.
        if getattr(self._text_encoder.config, "use_attention_mask", False):
            used_B = torch.tensor([each.num_used for each, _ in chunks], device=device)
            mask_BT = (torch.arange(size, device=device) < used_B[:, None]).long()
        emb_BTD = self._hidden_states(ids_BT, mask_BT, [each.clip_skip for each, _ in chunks])
        weighed = [_weighed(emb_TD, *chunk, size) for emb_TD, chunk in zip(emb_BTD, chunks, strict=True)]
        is_finite_B = is_finite(torch.stack(weighed)).tolist()  # device-to-host sync
        return [emb_TD.clone() if ok else None for emb_TD, ok in zip(weighed, is_finite_B, strict=True)]

    def _hidden_states(self, ids_BT: Tensor, mask_BT: Tensor | None, clip_skips: Sequence[int]) -> Tensor:
        """Return what the layer that each row asks for says, behind the encoder's last norm."""
        is_skipping = any(skip > 1 for skip in clip_skips)
        said = self._text_encoder(ids_BT, attention_mask=mask_BT, output_hidden_states=is_skipping)
        if not is_skipping:
            return said.last_hidden_state
        norm = _last_norm(self._text_encoder)
        rows = [
            said.last_hidden_state[b] if skip == 1 else norm(said.hidden_states[-skip][b])
            for b, skip in enumerate(clip_skips)
        ]
        return torch.stack(rows)

    def _remember(self, found: dict[Tokens, Tensor]) -> None:
        for each, emb_TD in found.items():
            self._embeddings[each] = emb_TD
            self._embeddings.move_to_end(each)
        left = _num_tokens(self._embeddings.values()) - NUM_CACHED * self.num_tokens
        while left > 0:
            _, emb_TD = self._embeddings.popitem(last=False)
            left -= len(emb_TD)


def _num_tokens(embeddings: Iterable[Tensor]) -> int:
    return sum(len(emb_TD) for emb_TD in embeddings)


def _last_norm(text_encoder: Any) -> Any:
    return getattr(text_encoder, "text_model", text_encoder).final_layer_norm


def _weighed(emb_TD: Tensor, prompt: Tokens, chunk: int, size: int) -> Tensor:
    """Return a chunk's hidden states [T, D] times its tokens' weights, with the mean that they had before."""
    weights = prompt.weights[chunk * size : (chunk + 1) * size]
    if all(weight == 1 for weight in weights):
        return emb_TD
    weights_T = torch.tensor(weights, device=emb_TD.device)
    heavy_TD = emb_TD.float() * weights_T[:, None]
    return (heavy_TD * (emb_TD.float().mean() / heavy_TD.mean())).to(emb_TD.dtype)
