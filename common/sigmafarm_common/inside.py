"""What a drawing was made of: the noise levels of its calls, and the tokens of its prompts, as its worker used them.

The worker writes it into the picture's file, so that whoever has the picture can look inside without torch, a tokenizer
or the model. Reading is bounded: a file may be anybody's.
"""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

#: Calls of a schedule, chunks of a prompt, tokens of a chunk and characters of a text that are read at most.
MAX_CALLS, MAX_CHUNKS, MAX_TOKENS, MAX_TEXT_CHARS = 2_000, 64, 4_096, 2_000
#: Significant digits of the numbers that are kept.
DIGITS = 6

_Text = Annotated[str, Field(max_length=MAX_TEXT_CHARS)]


class Token(NamedTuple):
    """One token: its place in the vocabulary, what it stands for, and how much it weighs."""

    id: int
    text: _Text
    weight: float = 1.0


_Chunk = Annotated[tuple[Token, ...], Field(max_length=MAX_TOKENS)]


class ReadPrompt(BaseModel):
    """A prompt as the text encoder read it."""

    model_config = ConfigDict(frozen=True)

    #: Tokens that the encoder reads at once: each chunk is filled up to it with padding.
    size: int
    #: The chunks, each from its start to its end token; a plain prompt has one.
    chunks: Annotated[tuple[_Chunk, ...], Field(max_length=MAX_CHUNKS)]
    #: Tokens that did not fit and were not drawn, and the text that they are, shortened.
    num_cut: int = 0
    cut: _Text = ""


class Inside(BaseModel):
    """What a picture was drawn with, one number or row for each call of the network from the start step on."""

    model_config = ConfigDict(frozen=True)

    #: Noise over picture; None is noise alone.
    sigmas: Annotated[tuple[float | None, ...], Field(max_length=MAX_CALLS)]
    #: What the network was told.
    timesteps: Annotated[tuple[float, ...], Field(max_length=MAX_CALLS)]
    prompt: ReadPrompt
    #: None where no call was guided, and the negative prompt, be it empty, was not read.
    negative_prompt: ReadPrompt | None = None

    def said(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return self.model_dump(mode="json", exclude_defaults=True)

    @classmethod
    def read(cls, said: object) -> Self | None:
        """Return what JSON values say; None for those that are none of it, or too much of it."""
        try:
            found = cls.model_validate(said)
        except ValidationError:
            return None
        return found if len(found.sigmas) == len(found.timesteps) else None


def rounded(value: float) -> float:
    """Return a number with as many digits as are kept."""
    return float(f"{value:.{DIGITS}g}")
