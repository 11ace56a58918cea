"""A real notebook kernel: a process that runs cells, with what each cell showed, as a front end keeps it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty
from typing import Any, Self

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from tests.limits import LIMIT_S, LOOK_S


@dataclass
class Cell:
    """What a cell showed: its displays as they stand at the end, every state of them, what was printed, its value."""

    displays: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    states: list[str] = field(default_factory=list[str])
    printed: str = ""
    errors: str = ""
    value: dict[str, str] = field(default_factory=dict[str, str])
    #: The name of what was raised, and its text.
    raised: tuple[str, str] | None = None
    _places: dict[str, int] = field(default_factory=dict[str, int])

    def take(self, kind: str, content: dict[str, Any]) -> None:
        """Take in a message of the kernel."""
        if kind == "display_data":
            if name := content.get("transient", {}).get("display_id"):
                self._places[name] = len(self.displays)
            self.displays.append(content["data"])
            self.states.append(content["data"].get("text/plain", ""))
        elif kind == "update_display_data":
            self.displays[self._places[content["transient"]["display_id"]]] = content["data"]
            self.states.append(content["data"].get("text/plain", ""))
        elif kind == "stream":
            setattr(
                self,
                said := "printed" if content["name"] == "stdout" else "errors",
                getattr(self, said) + content["text"],
            )
        elif kind == "execute_result":
            self.value = content["data"]
        elif kind == "error":
            self.raised = (content["ename"], content["evalue"])


class Kernel:
    """One kernel, on sockets in a folder."""

    def __init__(self, folder: Path, env: Mapping[str, str]):
        self._manager = KernelManager(
            kernel_name="python3",
            transport="ipc",
            ip=str(folder / "kernel"),
            connection_file=str(folder / "kernel.json"),
        )
        self._env = dict(env)
        self._client: BlockingKernelClient | None = None

    def __enter__(self) -> Self:
        self._manager.start_kernel(env=self._env)
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
                message = self._client.get_iopub_msg(timeout=50 * LOOK_S)
            except Empty:
                waited_s += 50 * LOOK_S
                assert self._manager.is_alive(), "the kernel died"
                assert waited_s < LIMIT_S, f"the cell does not end; it showed {cell}"
                continue
            if message["parent_header"].get("msg_id") != request:
                continue
            cell.take(message["msg_type"], message["content"])
            on_news(cell)
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                return cell
