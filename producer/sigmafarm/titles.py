"""What a batch without a name is called: by the file that its rows came from, else by its first prompt's words."""

from __future__ import annotations

#: Longest title, in characters.
MAX_TITLE_CHARS = 60


def title_of(source: str, prompt: str, *, is_again: bool = False) -> str:
    """Return a title of one line, cut between two words where there is one; empty for no source and no prompt. One that
    goes on from another batch says so: lists show both."""
    said = (source or prompt)[: 4 * MAX_TITLE_CHARS]
    said = f"again: {said}" if said and is_again else said
    said = said.encode("utf-8", "replace").decode()  # names of files may hold bytes that are no text
    title = " ".join(said.split())
    if len(title) <= MAX_TITLE_CHARS:
        return title
    cut = title[:MAX_TITLE_CHARS]
    return (cut.rpartition(" ")[0] or cut).rstrip(" ,.;:") + "…"
