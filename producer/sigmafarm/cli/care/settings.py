"""`sigmafarm config`: every setting of the farm, and where it comes from."""

from __future__ import annotations

import typer
from rich.text import Text

from sigmafarm.cli.output import Json, Rows, config_of, print_json, say, show
from sigmafarm_common.config import unknown_variables


def config(context: typer.Context, is_json: Json = False) -> None:
    """Show every setting and where it comes from; secrets are masked."""
    found, warnings = config_of(context).sources(), unknown_variables()
    if is_json:
        fields = ("name", "variable", "value", "source", "description")
        print_json({"settings": [{f: getattr(s, f) for f in fields} for s in found], "warnings": warnings})
        return
    rows = [(s.variable, s.value or "-", Text(s.source, "dim" if s.source == "default" else "green")) for s in found]
    show(Rows(["variable", "value", "source"], rows))
    for warning in warnings:
        say(f"warning: {warning}")
