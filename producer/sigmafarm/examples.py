"""The settings of published programs, as rows for this farm: the render loops that it was built to run at scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sigmafarm.example_picture import draw_dancer

if TYPE_CHECKING:
    from PIL.Image import Image

#: The prompts that several of them share.
ASTRONAUT = "a photograph of an astronaut riding a horse"
#: The side that they all draw at, in pixels.
FULL_SIDE_PX = 512


@dataclass(frozen=True)
class Example:
    """A program: what it draws with, and what it is."""

    name: str
    what: str
    prompts: tuple[str, ...]
    settings: Mapping[str, Any]
    #: Jobs of each prompt: pictures that it draws in one call.
    repeat: int = 1
    #: Whether all of them come from one generator, as in diffusers' pipelines.
    one_generator: bool = False

    #: Whether it begins with a picture (image to image).
    has_picture: bool = False

    def defaults(
        self, *, model: str | None = None, is_full_size: bool = False, steps: int | None = None
    ) -> dict[str, Any]:
        """Return the settings of its rows: at the model's own size, unless the program's is asked for. With other
        `steps` than the program's, the step that it starts at moves in proportion."""
        said: dict[str, Any] = {**self.settings, **({"model": model} if model else {})}
        if is_full_size:
            said |= {"width": FULL_SIDE_PX, "height": FULL_SIDE_PX}
        if steps and "start_step" in said:
            said["start_step"] = said["start_step"] * steps // said["num_inference_steps"]
        return {**said, "num_inference_steps": steps or said["num_inference_steps"]}

    def picture(self) -> Image | None:
        """Return what it begins with where nobody brings another: drawn by our own code. None for text to image."""
        return draw_dancer(FULL_SIDE_PX) if self.has_picture else None


EXAMPLES: Mapping[str, Example] = {
    each.name: each
    for each in (
        Example(
            "custom-script",
            "parts from local folders, a loop of one's own",
            (
                "A digital illustration of a steampunk computer laboratory with clockwork machines, 4k, detailed, "
                "trending in artstation, fantasy vivid colors",
            ),
            {"num_inference_steps": 200, "guidance_scale": 7.5, "seed": 4},
        ),
        Example(
            "pipeline-from-parts",
            "tokenizer, text encoder, UNet and VAE loaded apart, two prompts",
            (ASTRONAUT, "an oil painting of an astronaut riding a horse in the style of grant wood"),
            {"num_inference_steps": 70, "guidance_scale": 7.5, "seed": 100},
            one_generator=True,
        ),
        Example(
            "deep-dive",
            "image to image: a picture with the noise of step 10, and the steps from there on",
            ("A colorful dancer, nat geo photo",),
            {"num_inference_steps": 50, "guidance_scale": 8.0, "seed": 32, "start_step": 10},
            has_picture=True,
        ),
        Example(
            "refresher",
            "one long portrait prompt, twice in one call",
            (
                "portrait of an old clockmaker at his bench, half in shadow, warm light of one lamp, fine wrinkles, "
                "brass gears and small tools around him, painted in oil, muted colours, highly detailed, sharp focus, "
                "calm mood, dark background",
            ),
            {"num_inference_steps": 50, "guidance_scale": 7.0, "seed": 104853234},
            repeat=2,
        ),
        Example(
            "lesson-notes",
            "the loop, a step at a time",
            (ASTRONAUT,),
            {"num_inference_steps": 70, "guidance_scale": 7.5, "seed": 100},
        ),
    )
}
