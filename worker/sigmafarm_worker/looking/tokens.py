"""The token table of a prompt: what the text encoder reads of it, with which weight, and what is cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sigmafarm_common.settings import PromptSyntax
from sigmafarm_worker.looking.look import Look, draw_words
from sigmafarm_worker.models.reading import Reader

#: A token of the table: its chunk, its place there, id, text, mask, weight.
Row = dict[str, Any]


def look_at_tokens(
    tokenizer: Any, prompt: str, *, num_tokens: int = 77, syntax: PromptSyntax = PromptSyntax.PLAIN
) -> Look:
    """Return the tokens of a prompt: id, text, whether the attention mask counts them, weight, and those that were cut.

    `tokenizer` is transformers' CLIPTokenizer of the model; `num_tokens` what its text encoder reads at once. A plain
    prompt has one chunk of so many tokens, which all weigh 1; by AUTOMATIC1111's syntax it has as many as it takes,
    and nothing is cut: there the mask counts a chunk's start, words and end."""
    if syntax is PromptSyntax.A1111:
        rows, cut = _weighted(tokenizer, prompt, num_tokens), list[Row]()
    else:
        rows, cut = _plain(tokenizer, prompt, num_tokens)
    num_used, num_chunks = sum(row["mask"] for row in rows), len(rows) // num_tokens
    figures = {
        "prompt": prompt,
        "syntax": str(syntax),
        "num_chunks": num_chunks,
        "num_used": num_used,
        "num_cut": len(cut),
        "tokens": rows,
        "cut": cut,
    }
    title = f"{num_used} of {len(rows)} tokens used, {len(cut)} cut"
    parts = [
        (f"chunk {n + 1}" if num_chunks > 1 else "", _words_of(rows[n * num_tokens : (n + 1) * num_tokens]))
        for n in range(num_chunks)
    ]
    return Look(draw_words(title, parts), figures)


def _plain(tokenizer: Any, prompt: str, num_tokens: int) -> tuple[list[Row], list[Row]]:
    """Return the rows of a prompt that is cut to one chunk, and what was cut."""
    read = tokenizer(prompt, padding="max_length", max_length=num_tokens, truncation=True)
    whole = list(tokenizer(prompt).input_ids)
    cut_ids = whole[num_tokens - 1 : -1] if len(whole) > num_tokens else []
    cut = [{"id": n, "text": word} for n, word in zip(cut_ids, tokenizer.convert_ids_to_tokens(cut_ids), strict=True)]
    ids, mask = list(read.input_ids), list(read.attention_mask)
    return _rows(tokenizer, ids, mask, [1.0] * len(ids), chunk=0), cut


def _weighted(tokenizer: Any, prompt: str, num_tokens: int) -> list[Row]:
    """Return the rows of a prompt of AUTOMATIC1111's syntax, chunk behind chunk."""
    read = Reader(tokenizer, num_tokens, {}).read_weighted(prompt)
    weights = read.weights or (1.0,) * len(read.ids)
    rows: list[Row] = []
    for chunk, at in enumerate(range(0, len(read.ids), num_tokens)):
        ids = read.ids[at : at + num_tokens]
        num_used = ids.index(tokenizer.eos_token_id) + 1
        mask = [1] * num_used + [0] * (num_tokens - num_used)
        rows += _rows(tokenizer, ids, mask, weights[at : at + num_tokens], chunk=chunk)
    return rows


def _rows(
    tokenizer: Any, ids: Sequence[int], mask: Sequence[int], weights: Sequence[float], *, chunk: int
) -> list[Row]:
    told = zip(ids, tokenizer.convert_ids_to_tokens(list(ids)), mask, weights, strict=True)
    return [
        {"chunk": chunk, "place": place, "id": n, "text": word, "mask": used, "weight": weight}
        for place, (n, word, used, weight) in enumerate(told)
    ]


def _words_of(rows: Sequence[Row]) -> list[tuple[str, str, bool]]:
    """Return what is drawn of each token: its id, with its weight where that is not 1; its text; whether it is used."""
    return [
        (f"{row['id']}" + (f" x {row['weight']:.3g}" if row["weight"] != 1 else ""), row["text"], bool(row["mask"]))
        for row in rows
    ]
