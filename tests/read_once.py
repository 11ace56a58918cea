"""What libraries read anew for each client, though it does not change: read once a process. The machine's certificates
are 30 ms a client of HTTP, what botocore knows of its services 40 ms a client of S3."""

from __future__ import annotations

import functools
from typing import Any

import httpcore2
from botocore.loaders import JSONFileLoader


def read_once() -> None:
    """Have all clients of HTTP, and all of S3, share one reading of their files."""
    httpcore2.default_ssl_context = functools.cache(httpcore2.default_ssl_context)
    JSONFileLoader.load_file = _read_once(JSONFileLoader.load_file)


def _read_once(load_file: Any) -> Any:
    """Return a method that loads a file for the first that asks."""
    known: dict[str, Any] = {}

    def load(self: JSONFileLoader, path: str) -> Any:
        if path not in known:
            known[path] = load_file(self, path)
        return known[path]

    return load
