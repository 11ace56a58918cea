"""The token table of a prompt: what the text encoder reads of it, and what is cut."""

from __future__ import annotations

from typing import Any

from sigmafarm_worker.looking.look import Look, draw_words


def look_at_tokens(tokenizer: Any, prompt: str, *, num_tokens: int = 77) -> Look:
    """Return the tokens of a prompt: id, text, whether the attention mask counts them, and those that were cut.

    `tokenizer` is transformers' CLIPTokenizer of the model; `num_tokens` what its text encoder reads."""
    read = tokenizer(prompt, padding="max_length", max_length=num_tokens, truncation=True)
    whole = list(tokenizer(prompt).input_ids)
    ids, mask = list(read.input_ids), list(read.attention_mask)
    words = tokenizer.convert_ids_to_tokens(ids)
    cut_ids = whole[num_tokens - 1 : -1] if len(whole) > num_tokens else []
    cut = [{"id": n, "text": word} for n, word in zip(cut_ids, tokenizer.convert_ids_to_tokens(cut_ids), strict=True)]
    table = [
        {"place": place, "id": n, "text": word, "mask": used}
        for place, (n, word, used) in enumerate(zip(ids, words, mask, strict=True))
    ]
    figures = {"prompt": prompt, "num_used": sum(mask), "num_cut": len(cut), "tokens": table, "cut": cut}
    title = f"{sum(mask)} of {num_tokens} tokens used, {len(cut)} cut"
    return Look(
        draw_words(title, [(str(each["id"]), str(each["text"]), bool(each["mask"])) for each in table]), figures
    )
