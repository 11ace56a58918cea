"""Loads checkpoints of full size in one file, without a network, and holds them against their folders.

    HF_HUB_OFFLINE=1 python tests/bench/full_size.py [--sizes sd15 sd21] [--side 256] [--out FILE.jsonl]

Random weights in half precision, CLIP's own 49,408 words. The folder's and the file's fingerprints and latents after
one guided step must be equal bit for bit (float32 on the CPU). Needs 12 GB of memory and 6 GB of disk; one JSON line a
size, with the seconds of loading and the largest memory of the process.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402 - after the path
import torch  # noqa: E402

from sigmafarm_common.settings import RenderRequest  # noqa: E402
from sigmafarm_worker.engine import Engine  # noqa: E402
from sigmafarm_worker.models import load_model  # noqa: E402
from sigmafarm_worker.models.random_checkpoint import make_random_checkpoint  # noqa: E402
from tests.single_file import write_single_file  # noqa: E402

#: What a file says of itself; 2.1 predicts v and was trained on 768 pixels.
_ABOUT = {
    "sd15": ("epsilon", {"modelspec.architecture": "stable-diffusion-v1", "modelspec.resolution": "512x512"}),
    "sd21": (
        "v_prediction",
        {"modelspec.architecture": "stable-diffusion-v2-768-v", "modelspec.resolution": "768x768"},
    ),
}


def main() -> None:
    arguments = _parsed()
    for size in arguments.sizes:
        with tempfile.TemporaryDirectory() as folder:
            line = json.dumps(_run(size, Path(folder), arguments.side))
        print(line, flush=True)
        if arguments.out:
            with arguments.out.open("a") as out:
                out.write(line + "\n")


def _run(size: str, folder: Path, side: int) -> dict[str, Any]:
    prediction_type, metadata = _ABOUT[size]
    whole = make_random_checkpoint(
        folder / "whole",
        size=size,
        sample_size=64 if size == "sd15" else 96,
        prediction_type=prediction_type,
        dtype=torch.float16,
        has_clip_words=True,
    )
    file = write_single_file(whole, folder / f"{size}.safetensors", is_second=size == "sd21", metadata=metadata)
    gc.collect()
    from_folder, from_file = _drawn(whole, side), _drawn(file, side)
    assert from_folder["fingerprint"] == from_file["fingerprint"]
    assert np.array_equal(from_folder.pop("latents"), from_file.pop("latents"))
    return {
        "size": size,
        "file_bytes": file.stat().st_size,
        "folder": from_folder,
        "file": from_file,
        "is_equal": True,
        "max_memory_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "versions": {name: version(name) for name in ("torch", "diffusers", "transformers")},
    }


def _drawn(place: Path, side: int) -> dict[str, Any]:
    begin_s = time.monotonic()
    model = load_model(place)
    load_s = time.monotonic() - begin_s
    engine = Engine(model, 1)
    request = RenderRequest(prompt="a castle", num_inference_steps=1, seed=4, height=side, width=side)
    future = engine.submit(request)
    while engine.step():
        pass
    about = {"load_s": round(load_s, 1), "fingerprint": model.fingerprint, "height": model.height}
    return {**about, "prediction_type": model.prediction_type, "latents": future.result(0).latents}


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="+", choices=list(_ABOUT), default=list(_ABOUT))
    parser.add_argument("--side", type=int, default=256, help="pixels of the picture's sides")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
