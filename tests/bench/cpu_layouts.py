"""At which width a CPU's convolutions stop to gain by images that lie pixel by pixel: networks of diffusers' with
random weights, in both layouts, pass by pass in turns.

    python -m tests.bench.cpu_layouts [--threads 1] [--rounds 10] [--out tests/bench/results/cpu_layouts.jsonl]

Prints, for each width, the median of the time pixel by pixel over that channel by channel, and a JSON line.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel

from sigmafarm_worker.host_memory import keep_freed_memory
from tests.bench.about import about, put_down

#: Channels of the blocks, the last those of Stable Diffusion 1.5; heads of each attention.
WIDTHS = ((64, 120), (64, 128), (96, 192), (128, 256), (160, 320), (256, 512), (320, 640, 1280, 1280))
NUM_HEADS = 8


def unet(widths: tuple[int, ...]) -> UNet2DConditionModel:
    """Return a network of these widths, as small as they allow."""
    more = len(widths) - 1
    return UNet2DConditionModel(
        block_out_channels=widths,
        down_block_types=("DownBlock2D", *["CrossAttnDownBlock2D"] * more),
        up_block_types=(*["CrossAttnUpBlock2D"] * more, "UpBlock2D"),
        layers_per_block=1 if more == 1 else 2,
        cross_attention_dim=128,
        attention_head_dim=NUM_HEADS,
        norm_num_groups=8,
    ).eval()


@torch.inference_mode()
def ratio(widths: tuple[int, ...], rounds: int) -> float:
    """Return the median of the rounds' ratios."""
    by_channel = unet(widths)
    by_pixel = copy.deepcopy(by_channel).to(memory_format=torch.channels_last)
    num_rows, side = (16, 16) if len(widths) == 2 else (2, 32)
    x, emb = torch.randn(num_rows, 4, side, side), torch.randn(num_rows, 77, 128)

    def seconds(network: UNet2DConditionModel) -> float:
        began_s = time.perf_counter()
        network(x, 500, emb)
        return time.perf_counter() - began_s

    seconds(by_channel), seconds(by_pixel)
    return statistics.median(seconds(by_pixel) / seconds(by_channel) for _ in range(rounds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--out", type=Path)
    said = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(said.threads)
    found: dict[str, float] = {}
    for widths in WIDTHS:
        name = ", ".join(map(str, widths))
        found[name] = round(ratio(widths, said.rounds if len(widths) == 2 else 4), 3)
        print(f"{name:24} {found[name]}", flush=True)
    put_down(
        {"bench": "cpu_layouts", "threads": said.threads, "ratios": found, **about("torch", "diffusers")}, said.out
    )


if __name__ == "__main__":
    main()
