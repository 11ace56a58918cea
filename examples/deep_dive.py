"""A picture drawn on from where it stands: its latents with the noise of step 10 of 50, and the steps from there on.

    python examples/deep_dive.py [--image FILE] [--model NAME] [--full-size]

Without --image it begins with a dancer of flat colours. A later start step keeps more of the picture.
"""

import argparse

from sigmafarm import Farm
from sigmafarm.examples import EXAMPLES

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--image", help="a PNG, JPEG or WEBP to begin with")
parser.add_argument("--model", help="one of `sigmafarm models`")
parser.add_argument("--full-size", action="store_true")
parser.add_argument("--steps", type=int)
said = parser.parse_args()

example = EXAMPLES["deep-dive"]
settings = example.defaults(model=said.model, is_full_size=said.full_size, steps=said.steps)

batch = Farm.from_env().submit(
    example.prompts, name="deep dive", defaults=settings, init_image=said.image or example.picture()
)
batch.wait(progress=True)
batch.download("out/deep_dive")
