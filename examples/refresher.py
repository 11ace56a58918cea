"""One long prompt, drawn twice in one submission: the second picture has the next seed.

python examples/refresher.py [--model NAME] [--full-size]
"""

import argparse

from sigmafarm import Farm
from sigmafarm.examples import EXAMPLES

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--model", help="one of `sigmafarm models`")
parser.add_argument("--full-size", action="store_true")
parser.add_argument("--steps", type=int)
said = parser.parse_args()

example = EXAMPLES["refresher"]
settings = example.defaults(model=said.model, is_full_size=said.full_size, steps=said.steps)

batch = Farm.from_env().submit(example.prompts, name="refresher", defaults=settings, repeat=example.repeat)
batch.wait(progress=True)
batch.download("out/refresher")
