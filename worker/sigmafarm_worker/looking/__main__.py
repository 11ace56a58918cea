"""`python -m sigmafarm_worker.looking KIND`: writes a look as PNG and JSON. `sigmafarm inspect` runs it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from PIL import Image

from sigmafarm_common.errors import SigmafarmError, UnreadableInput
from sigmafarm_common.models_file import ModelSpec
from sigmafarm_common.settings import PromptSyntax, RenderRequest
from sigmafarm_worker.bundled import bundled_model_path
from sigmafarm_worker.looking.look import Look

#: The kinds, with what each shows.
KINDS = {
    "tokens": "the token table of a prompt, with its weights by --prompt-syntax a1111",
    "schedule": "sigmas and timesteps of a sampler",
    "latents": "the four channels of a drawing's latents",
    "noised": "a picture with the noise of a step, decoded",
    "filmstrip": "a drawing at chosen steps",
    "roundtrip": "a picture encoded and decoded, and the difference",
}


def main() -> None:
    """Run the program; exit with 2 for bad input."""
    said = _parser().parse_args()
    try:
        look = _look(said)
        png, numbers = look.save(Path(said.out or said.kind))
    except (SigmafarmError, OSError) as error:
        sys.stderr.write(f"sigmafarm: {error}\n")
        sys.exit(getattr(error, "exit_code", 2))
    sys.stdout.write(f"{png}\n{numbers}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("sigmafarm inspect", description="Look inside a drawing: PNG and JSON.")
    parser.add_argument("kind", choices=list(KINDS), help="; ".join(f"{kind}: {what}" for kind, what in KINDS.items()))
    parser.add_argument("-p", "--prompt", default="")
    parser.add_argument("--image", help="a picture, for noised and roundtrip")
    parser.add_argument("--model", help="a checkpoint's folder; the bundled one unless said")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--at", default="", help="steps of the filmstrip (0,10,50), or the step of noised")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--sampler", default="lms")
    parser.add_argument("--karras-sigmas", action="store_true")
    parser.add_argument("--negative-prompt")
    syntaxes = [str(each) for each in PromptSyntax]
    parser.add_argument("--prompt-syntax", choices=syntaxes, help="a1111: brackets are weights, nothing is cut")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", help="the PNG; the JSON stands beside it. KIND.png unless said")
    return parser


def _look(said: argparse.Namespace) -> Look:
    """Return what is asked for; torch and the model are loaded only as far as it needs them."""
    from sigmafarm_worker import looking
    from sigmafarm_worker.models import find_tokenizer, load_model

    spec = ModelSpec(name="inspected", path=str(said.model or bundled_model_path()))
    syntax = PromptSyntax(said.prompt_syntax or PromptSyntax.PLAIN)
    if said.kind == "tokens":
        return looking.look_at_tokens(find_tokenizer(spec), said.prompt, syntax=syntax)
    model = load_model(spec, device=said.device)
    if said.kind == "schedule":
        return looking.look_at_schedule(
            model.scheduler, said.steps, sampler=said.sampler, karras_sigmas=said.karras_sigmas
        )
    if said.kind == "roundtrip":
        return looking.look_at_roundtrip(model, _picture(said.image))
    if said.kind == "noised":
        at, *_ = _steps(said.at) or [said.steps // 2]
        return looking.look_at_noised(model, _picture(said.image), at, num_inference_steps=said.steps, seed=said.seed)
    request = RenderRequest.parse(
        {
            "prompt": said.prompt,
            "negative_prompt": said.negative_prompt,
            "prompt_syntax": said.prompt_syntax,
            "num_inference_steps": said.steps,
            "guidance_scale": said.guidance,
            "seed": said.seed,
            "sampler": said.sampler,
            "karras_sigmas": said.karras_sigmas or None,
        }
    )
    if said.kind == "latents":
        return looking.look_at_latents(model, request)
    return looking.look_at_filmstrip(model, request, steps=_steps(said.at))


def _steps(text: str) -> list[int]:
    try:
        return [int(each) for each in text.split(",") if each.strip()]
    except ValueError:
        raise UnreadableInput(f"--at is {text!r}: must be steps, such as 0,10,50") from None


def _picture(path: str | None) -> Image.Image:
    if path is None:
        raise UnreadableInput("there is no picture: name one with --image")
    try:
        with Image.open(path, formats=("PNG", "JPEG", "WEBP")) as image:
            return image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UnreadableInput(f"{path} cannot be read as a picture: {error}") from None


if __name__ == "__main__":
    main()
