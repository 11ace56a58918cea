"""What a picture was drawn with, on its job's page: noise levels as curves and a table, tokens in their order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sigmafarm_common.inside import Inside, ReadPrompt
from sigmafarm_common.picture_text import sampler_name
from sigmafarm_common.settings import RenderRequest
from sigmafarm_common.wording import numbered

#: The size of a curve's drawing, in its own units.
WIDTH, HEIGHT = 600, 160
#: Points that a curve is drawn with at most.
MAX_POINTS = 300


@dataclass(frozen=True)
class Curve:
    """One row of numbers over the calls, as points of a drawing."""

    name: str
    #: As SVG wants them.
    points: str
    highest: str
    lowest: str
    words: str


@dataclass(frozen=True)
class Call:
    """One call of the network."""

    number: int
    timestep: str
    sigma: str


@dataclass(frozen=True)
class Word:
    """One token; `weight` is empty where it weighs as much as others."""

    id: int
    text: str
    weight: str
    is_mark: bool


@dataclass(frozen=True)
class PromptView:
    """The tokens of a prompt."""

    name: str
    words: str
    chunks: tuple[tuple[Word, ...], ...]
    num_cut: int
    cut: str


@dataclass(frozen=True)
class InsideView:
    """All of it. `counted` is what is counted: steps, or calls where there are several in a step."""

    words: str
    counted: str
    calls: tuple[Call, ...]
    curves: tuple[Curve, ...]
    prompts: tuple[PromptView, ...]


def inside_view(inside: Inside, request: RenderRequest) -> InsideView:
    """Return what a page shows of a picture; `request` are its job's settings."""
    first, num = request.first_step, len(inside.sigmas)
    is_call_a_step = first + num == request.num_inference_steps
    counted, before = ("step", first) if is_call_a_step else ("call", 0)
    calls = tuple(
        Call(n, _short(t), _short(sigma))
        for n, (t, sigma) in enumerate(zip(inside.timesteps, inside.sigmas, strict=True), start=before + 1)
    )
    prompts = [_prompt("Prompt", inside.prompt)]
    if inside.negative_prompt:
        prompts.append(_prompt("Negative prompt", inside.negative_prompt))
    return InsideView(
        words=_words(request, num),
        counted=counted,
        calls=calls,
        curves=(curve("Noise level sigma", [*inside.sigmas, 0.0]), curve("Timestep", inside.timesteps)),
        prompts=tuple(prompts),
    )


def curve(name: str, values: Sequence[float | None]) -> Curve:
    """Return a curve from its first call to its last. What is not finite (None) is left out."""
    known = [(n, value) for n, value in enumerate(values) if value is not None]
    if not known:
        return Curve(name, "", "", "", f"{name}: no finite value")
    low, high = min(value for _, value in known), max(value for _, value in known)
    span, last = (high - low) or 1.0, max(1, len(values) - 1)
    every = -(-len(known) // MAX_POINTS)
    drawn = known[::every] if known[-1] in known[::every] else [*known[::every], known[-1]]
    points = " ".join(f"{WIDTH * n / last:.1f},{HEIGHT * (high - value) / span:.1f}" for n, value in drawn)
    words = f"{name}: from {_short(known[0][1])} to {_short(known[-1][1])}"
    return Curve(name, points, _short(high), _short(low), words)


def _words(request: RenderRequest, num_calls: int) -> str:
    num = request.num_inference_steps or num_calls
    steps = f"the last {num - request.first_step} of {num} steps" if request.first_step else numbered(num, "step")
    return f"{sampler_name(request.said())}, {steps}: {numbered(num_calls, 'call')} of the network"


def _prompt(name: str, read: ReadPrompt) -> PromptView:
    num_used = sum(map(len, read.chunks))
    room = read.size * len(read.chunks)
    parts = f" in {len(read.chunks)} parts" if len(read.chunks) > 1 else ""
    rest = ", the rest is padding" if num_used < room else ""
    words = f"{num_used} of {room} places used{parts}{rest}"
    chunks = tuple(
        tuple(
            Word(token.id, token.text, "" if token.weight == 1 else _short(token.weight), at in (0, len(chunk) - 1))
            for at, token in enumerate(chunk)
        )
        for chunk in read.chunks
    )
    return PromptView(name, words, chunks, read.num_cut, read.cut)


def _short(value: float | None) -> str:
    return "∞" if value is None else f"{value:.4g}"
