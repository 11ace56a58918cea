"""Make the bundled model from nothing: `python worker/demo_model/train.py --seed 0 --work DIR`.

Every stage leaves its result in DIR and is skipped when it is there; inside a stage, checkpoints resume a killed run.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from demo_model.export import export
from demo_model.parallel import run_together
from demo_model.tokenizer import make_tokenizer
from demo_model.train_decoder import train_decoder
from demo_model.train_unet import train_unet
from demo_model.train_vae import train_vae
from demo_model.trainer import Budget

#: Stage -> what it trains, the folder it leaves, its budget in steps.
STAGES = {
    "vae": (train_vae, "vae", 4000),
    "unet": (train_unet, "unet", 14000),
    "decoder": (train_decoder, "vae_final", 2000),
}


def main() -> None:
    """Run the stages in their order, then write the model folder."""
    options = _parse()
    options.work.mkdir(parents=True, exist_ok=True)
    if not (options.work / "tokenizer").exists():
        make_tokenizer(options.work / "tokenizer", options.seed)
    for name, (work, folder, _) in STAGES.items():
        if not (options.work / folder).exists():
            budget = Budget(getattr(options, f"{name}_steps"), getattr(options, f"{name}_minutes"))
            run_together(options.processes, work, options.work, options.seed, budget)
    size_bytes = export(options.work, options.out or options.work / "model")
    print(f"{size_bytes:,} bytes")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, required=True, help="folder of checkpoints and caches")
    parser.add_argument("--out", type=Path, help="folder of the finished model; DIR/model unless said")
    parser.add_argument("--processes", type=int, default=2, help="single-thread processes that share each step")
    for name, (_, _, steps) in STAGES.items():
        parser.add_argument(f"--{name}-steps", type=int, default=steps)
        parser.add_argument(f"--{name}-minutes", type=float, default=math.inf, help="decay by this time at the latest")
    return parser.parse_args()


if __name__ == "__main__":
    main()
