"""Draws the notebook of the first hour anew: a real farm with the bundled model, a real kernel, its outputs stored.

python -m tests.examples.draw_notebook

What tells of this machine is named otherwise in what is stored: its host, its folders.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

from sigmafarm import Config
from sigmafarm.up import EmbeddedFarm
from tests.kernel import Kernel

NOTEBOOK = Path(__file__).parents[2] / "examples" / "first_hour.ipynb"
#: What the machine is called in the notebook.
HOST = "workstation"


def main() -> int:
    """Run every cell; nothing is stored if one raises."""
    notebook = json.loads(NOTEBOOK.read_text("utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    with tempfile.TemporaryDirectory() as name, EmbeddedFarm(Config(data_dir=Path(name, "data")), has_api=True) as farm:
        farm.wait_until_ready()
        with Kernel(Path(name), {**os.environ, "SIGMAFARM_DATA_DIR": str(Path(name, "data"))}) as kernel:
            for number, cell in enumerate(cells, start=1):
                ran = kernel.run("".join(cell["source"]))
                if ran.raised:
                    sys.stderr.write(f"cell {number} raised {ran.raised[0]}: {ran.raised[1]}\n")
                    return 1
                cell["execution_count"] = number
                cell["outputs"] = [stored(output, number) for output in ran.outputs]
    text = json.dumps(notebook, indent=1, ensure_ascii=False).replace(socket.gethostname(), HOST)
    NOTEBOOK.write_text(text.replace(name, "/home/me") + "\n", encoding="utf-8")
    return 0


def stored(output: dict[str, Any], number: int) -> dict[str, Any]:
    """Return an output as notebooks store it: with its cell's number where it is the value, texts by line, and of each
    picture one form."""
    kept = {name: value for name, value in output.items() if name not in ("transient", "execution_count")}
    if output["output_type"] == "execute_result":
        kept["execution_count"] = number
    if "text" in kept:
        kept["text"] = kept["text"].splitlines(keepends=True)
    if "data" in kept:
        kept["data"] = {
            kind: data if kind == "image/png" else data.splitlines(keepends=True)
            for kind, data in kept["data"].items()
            if kind != "image/jpeg"
        }
    return kept


if __name__ == "__main__":
    sys.exit(main())
