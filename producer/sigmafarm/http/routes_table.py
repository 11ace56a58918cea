"""Prints the table of all routes, as http/README.md shows it: `python -m sigmafarm.http.routes_table`."""

from __future__ import annotations

import sys

from fastapi import FastAPI

from sigmafarm.http.app import create_app
from sigmafarm_common.config import Config


def routes_table(app: FastAPI) -> str:
    """Return the table of all routes in Markdown, as http/README.md shows it."""
    lines = ["| route | what |", "|---|---|"]
    for path, methods in app.openapi()["paths"].items():
        for method, said in methods.items():
            first = said.get("description", said.get("summary", "")).split("\n")[0]
            lines.append(f"| `{method.upper()} {path}` | {first} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(routes_table(create_app(Config(redis_url="redis://127.0.0.1:6379/0"))) + "\n")
