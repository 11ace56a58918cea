"""Two prompts at once, by a model whose tokenizer, text encoder, UNet and VAE may each come from another place.

The models file names the parts; the script only names the model. See models/README.md.

    python examples/pipeline_from_parts.py [--model NAME] [--full-size]
"""

import argparse

from sigmafarm import Farm
from sigmafarm.examples import EXAMPLES

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--model", help="one of `sigmafarm models`")
parser.add_argument("--full-size", action="store_true")
parser.add_argument("--steps", type=int)
said = parser.parse_args()

example = EXAMPLES["pipeline-from-parts"]
settings = example.defaults(model=said.model, is_full_size=said.full_size, steps=said.steps)

# Both come from one generator, as from the pipeline's own call with a list.
batch = Farm.from_env().submit(example.prompts, name="pipeline from parts", defaults=settings, one_generator=True)
batch.wait(progress=True)
batch.download("out/pipeline_from_parts")
