"""A real notebook kernel: a process that runs cells, with what each cell showed, as a front end keeps it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty
from typing import Any, Self

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from tests.limits import LIMIT_S

#: How long one look for news of a cell waits.
NEWS_S = 1.0


@dataclass
class Cell:
    """What a cell showed."""

    #: As a notebook stores it (nbformat 4): displays as they stand at the end, what was printed, its value, its error.
    outputs: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    #: Every state of its displays, in words.
    states: list[str] = field(default_factory=list[str])
    _places: dict[str, int] = field(default_factory=dict[str, int])

    def take(self, kind: str, content: dict[str, Any]) -> None:
        """Take in a message of the kernel."""
        if kind in ("display_data", "update_display_data"):
            self._show(kind, content)
        elif kind == "stream":
            self._print(content["name"], content["text"])
        elif kind in ("execute_result", "error"):
            self.outputs.append({"output_type": kind, **content})

    def _show(self, kind: str, content: dict[str, Any]) -> None:
        name = content.get("transient", {}).get("display_id", "")
        shown = {"output_type": "display_data", "data": content["data"], "metadata": content["metadata"]}
        self.states.append(content["data"].get("text/plain", ""))
        if kind == "update_display_data":
            self.outputs[self._places[name]] = shown
            return
        self._places[name] = len(self.outputs)
        self.outputs.append(shown)

    def _print(self, name: str, text: str) -> None:
        if self.outputs and self.outputs[-1].get("name") == name:
            self.outputs[-1]["text"] += text
        else:
            self.outputs.append({"output_type": "stream", "name": name, "text": text})

    def _of(self, kind: str) -> list[dict[str, Any]]:
        return [output for output in self.outputs if output["output_type"] == kind]

    @property
    def displays(self) -> list[dict[str, str]]:
        return [output["data"] for output in self._of("display_data")]

    @property
    def value(self) -> dict[str, str]:
        """What its last line gives, in each form."""
        return next((output["data"] for output in self._of("execute_result")), {})

    @property
    def printed(self) -> str:
        return "".join(output["text"] for output in self._of("stream") if output["name"] == "stdout")

    @property
    def errors(self) -> str:
        """What was said on stderr."""
        return "".join(output["text"] for output in self._of("stream") if output["name"] == "stderr")

    @property
    def raised(self) -> tuple[str, str] | None:
        """The name of what was raised, and its text."""
        return next(((output["ename"], output["evalue"]) for output in self._of("error")), None)


class Kernel:
    """One kernel, on sockets in a folder, in which it runs."""

    def __init__(self, folder: Path, env: Mapping[str, str]):
        files = {"ip": str(folder / "kernel"), "connection_file": str(folder / "kernel.json")}
        self._manager = KernelManager(kernel_name="python3", transport="ipc", **files)
        self._folder, self._env = folder, {**env, "IPYTHONDIR": str(folder / "ipython")}
        self._client: BlockingKernelClient | None = None

    def __enter__(self) -> Self:
        self._manager.start_kernel(env=self._env, cwd=str(self._folder))
        self._client = self._manager.blocking_client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=LIMIT_S)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._client is not None
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)
        self._manager.cleanup_resources()

    def interrupt(self) -> None:
        """Do what the square button does."""
        self._manager.interrupt_kernel()

    def run(self, code: str, on_news: Callable[[Cell], None] = lambda _: None) -> Cell:
        """Run a cell to its end. `on_news` is called with every message of it."""
        assert self._client is not None
        cell, request, waited_s = Cell(), self._client.execute(code), 0.0
        while True:
            try:
                message = self._client.get_iopub_msg(timeout=NEWS_S)
            except Empty:
                waited_s += NEWS_S
                assert self._manager.is_alive(), "the kernel died"
                assert waited_s < LIMIT_S, f"the cell does not end; it showed {cell}"
                continue
            if message["parent_header"].get("msg_id") != request:
                continue
            cell.take(message["msg_type"], message["content"])
            on_news(cell)
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                return cell
