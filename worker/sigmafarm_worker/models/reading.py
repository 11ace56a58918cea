"""A prompt becomes the tokens that the text encoder reads: plainly, as diffusers does, or by AUTOMATIC1111's syntax."""

from __future__ import annotations

import re
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sigmafarm_worker.models.chunks import Group, Special, fill_chunks
from sigmafarm_worker.models.inversions import Inversions
from sigmafarm_worker.models.weighted_text import read_weights


@dataclass(frozen=True)
class Tokens:
    """A prompt as the text encoder reads it."""

    text: str
    #: Chunk behind chunk, each as many as the tokenizer's model_max_length: start, words, end, padding.
    ids: tuple[int, ...]
    #: How many of a chunk are read by encoders that want a mask: start, words and end of a plain prompt.
    num_used: int
    #: Tokens that did not fit and are not drawn, and the end of the text that they are.
    num_cut: int = 0
    cut: str = ""
    #: The weight of each token; empty where all weigh 1.
    weights: tuple[float, ...] = ()
    #: The layer of the text encoder that it comes from, counted from the last one, 1.
    clip_skip: int = 1

    @property
    def num_tokens(self) -> int:
        """Tokens of all its chunks, and of its embedding."""
        return len(self.ids)


@dataclass(frozen=True)
class _Word:
    """Tokens that belong together, and where the text begins that they are."""

    ids: tuple[int, ...]
    begin: int


class Reader:
    """Reads prompts with one tokenizer and one set of embeddings. Safe for threads."""

    def __init__(self, tokenizer: Any, num_tokens: int, inversions: Inversions):
        self._tokenizer, self._num_tokens, self._inversions = tokenizer, num_tokens, inversions
        #: The fast tokenizers set their truncation before each call and fail when two threads do it at once.
        self._tokenizing = threading.Lock()
        names = sorted(inversions, key=len, reverse=True)
        self._names = re.compile("|".join(re.escape(f"<{name}>") for name in names)) if names else None
        #: What a bare name reads as, with what it stands for, by the first token; the longest first.
        self._bare: dict[int, list[tuple[tuple[int, ...], tuple[int, ...]]]] = defaultdict(list)
        for name in inversions:
            ids = tuple(token for word in self._words(name) for token in word.ids)
            if ids:
                self._bare[ids[0]].append((ids, inversions[name]))
        for each in self._bare.values():
            each.sort(key=lambda pair: len(pair[0]), reverse=True)
        #: What each token stands for, as far as it was asked; one of an embedding is a part of that.
        self._texts = {token: f"<{name}>" for name, ids in inversions.items() for token in ids}
        comma = [token for word in self._words(",") for token in word.ids]
        end, padding = tokenizer.eos_token_id, tokenizer.pad_token_id
        self._special = Special(
            tokenizer.bos_token_id, end, end if padding is None else padding, comma[0] if len(comma) == 1 else -1
        )

    def read_plain(self, text: str, clip_skip: int = 1) -> Tokens:
        """Read a prompt as diffusers does: one chunk, what is longer is cut before the end token."""
        if self._names and self._names.search(text):
            return self._read_plain_words(text, clip_skip)
        limit = self._num_tokens
        with self._tokenizing:
            read = self._tokenizer(
                text, padding="max_length", max_length=limit, truncation=True, return_attention_mask=True
            )
            num_used = sum(read.attention_mask)
            whole = self._tokenizer(text) if num_used == limit else read
        num_cut = len(whole.input_ids) - len(read.input_ids)
        cut = self._end_of(text, whole, limit) if num_cut else ""
        return Tokens(text, tuple(read.input_ids), num_used, num_cut, cut, clip_skip=clip_skip)

    def read_weighted(self, text: str, clip_skip: int = 1) -> Tokens:
        """Read a prompt of AUTOMATIC1111's syntax: as many chunks as it takes."""
        chunks = fill_chunks(self._groups(text), self._num_tokens, self._special)
        ids = tuple(token for chunk in chunks for token, _ in chunk)
        weights = tuple(weight for chunk in chunks for _, weight in chunk)
        is_weighed = any(weight != 1 for weight in weights)
        return Tokens(text, ids, self._num_tokens, weights=weights if is_weighed else (), clip_skip=clip_skip)

    def spelled(self, ids: Sequence[int]) -> list[tuple[int, str]]:
        """Return the tokens of one chunk up to its end, without the padding behind it, and what each stands for."""
        end, padding = self._special.end, self._special.padding
        last = len(ids)
        while last and ids[last - 1] == padding:
            last -= 1
        # Where the end token is the padding, too, the first of them is the end.
        last += end == padding and last < len(ids)
        return [(token, self._text_of(token)) for token in ids[:last]]

    def _text_of(self, token: int) -> str:
        if token not in self._texts:
            text = self._tokenizer.decode([token], clean_up_tokenization_spaces=False)
            self._texts[token] = str(text).strip()
        return self._texts[token]

    def _read_plain_words(self, text: str, clip_skip: int) -> Tokens:
        """Read a plain prompt with embeddings in it; one may be cut in its middle, as diffusers does."""
        room, special = self._num_tokens - 2, self._special
        told = [(token, word.begin) for word in self._words(text) for token in word.ids]
        kept, left = told[:room], told[room:]
        padding = [special.padding] * (room - len(kept))
        ids = (special.start, *(token for token, _ in kept), special.end, *padding)
        cut = text[left[0][1] :].strip() if left else ""
        return Tokens(text, ids, len(kept) + 2, len(left), cut, clip_skip=clip_skip)

    def _groups(self, text: str) -> Iterator[Group]:
        for passage in read_weights(text):
            if passage.text is None:
                yield Group(None)
            else:
                for ids in self._named([word.ids for word in self._words(passage.text)]):
                    yield Group(ids, passage.weight)

    def _named(self, words: Sequence[tuple[int, ...]]) -> Iterator[tuple[int, ...]]:
        """Yield groups of tokens, with bare names of embeddings as what they stand for."""
        at = 0
        while at < len(words):
            group, num_words = words[at], 1
            for ids, instead in self._bare.get(words[at][0], ()):
                if tuple(words[at : at + len(ids)]) == tuple((token,) for token in ids):
                    group, num_words = instead, len(ids)
                    break
            yield group
            at += num_words

    def _words(self, text: str) -> Iterator[_Word]:
        """Yield the tokens of a text one by one, and each embedding in angle brackets as one."""
        at = 0
        for match in self._names.finditer(text) if self._names else ():
            yield from self._plain_words(text[at : match.start()], at)
            yield _Word(self._inversions[match[0][1:-1]], match.start())
            at = match.end()
        yield from self._plain_words(text[at:], at)

    def _plain_words(self, text: str, begin: int) -> Iterator[_Word]:
        with self._tokenizing:
            read = self._tokenizer(text, add_special_tokens=False)
        offsets = (
            [each[0] for each in read.encodings[0].offsets] if self._tokenizer.is_fast else [0] * len(read.input_ids)
        )
        return (_Word((token,), begin + offset) for token, offset in zip(read.input_ids, offsets, strict=True))

    def _end_of(self, text: str, whole: Any, limit: int) -> str:
        """Return the end of a text that its tokens from the last place of a chunk on are: that place is the end
        token's."""
        if self._tokenizer.is_fast:
            begin, _ = whole.encodings[0].offsets[limit - 1]
            return text[begin:].strip()
        return str(self._tokenizer.decode(whole.input_ids[limit - 1 : -1])).strip()
