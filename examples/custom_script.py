"""A picture of a checkpoint in local folders, as a script with a loop of its own draws it; here the farm has the loop.

python examples/custom_script.py [--model NAME] [--full-size]
"""

import argparse

from sigmafarm import Farm
from sigmafarm.examples import EXAMPLES

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--model", help="one of `sigmafarm models`; a checkpoint of your own stands in the models file")
parser.add_argument("--full-size", action="store_true")
parser.add_argument("--steps", type=int)
said = parser.parse_args()

example = EXAMPLES["custom-script"]
settings = example.defaults(model=said.model, is_full_size=said.full_size, steps=said.steps)

batch = Farm.from_env().submit(example.prompts, name="custom script", defaults=settings)
batch.wait(progress=True)
batch.download("out/custom_script")
