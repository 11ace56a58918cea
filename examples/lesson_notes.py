"""What the notes of the lesson try: one prompt and seed, guidance and steps varied, on one sheet.

python examples/lesson_notes.py [--model NAME] [--full-size]
"""

import argparse

from sigmafarm import Farm
from sigmafarm.examples import EXAMPLES

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--model", help="one of `sigmafarm models`")
parser.add_argument("--full-size", action="store_true")
parser.add_argument("--steps", type=int)
said = parser.parse_args()

example = EXAMPLES["lesson-notes"]
settings = example.defaults(model=said.model, is_full_size=said.full_size)
steps = said.steps or settings["num_inference_steps"]

batch = Farm.from_env().submit(
    example.prompts,
    name="lesson notes",
    defaults=settings,
    sweep={"guidance_scale": [1, 3, 7.5, 14], "num_inference_steps": [steps // 2, steps]},
)
batch.wait(progress=True)
batch.download("out/lesson_notes")
batch.sheet().draw().save("out/lesson_notes/sheet.png")
