"""The progress bar of a notebook: one output beneath the cell, drawn anew in place.

It is plain HTML, sent again under one display id. Classic notebooks, JupyterLab, VS Code and Colab all show that,
without ipywidgets, a script or anything else to install; where no HTML is shown, there is its text.
"""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console
from rich.progress import Progress, Task, TaskID

from sigmafarm.notebooks.pieces import PLAIN, bar, counts_bar, text
from sigmafarm.spans import duration
from sigmafarm_common.visible import visible


def is_in_notebook() -> bool:
    """Whether this program runs in a notebook's kernel, and not in a terminal."""
    shell: Any = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


class NotebookBar(Progress):
    """The house's bar, drawn into the output of a notebook's cell. To those who move it, it is rich's."""

    def __init__(self, console: Console):
        super().__init__(console=console, auto_refresh=False)
        self._handle: Any = None
        self._last = ""

    def start(self) -> None:
        """Draw nothing yet: there is no task."""

    def stop(self) -> None:
        """Leave the last state standing."""
        self.refresh()

    def update(self, task_id: TaskID, *args: Any, **about: Any) -> None:
        """Change a task, and draw it."""
        super().update(task_id, *args, **about)
        self.refresh()

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        """Move a task on, and draw it."""
        super().advance(task_id, advance)
        self.refresh()

    def refresh(self) -> None:
        """Draw the tasks whose length is known, if they look otherwise than before."""
        with self._lock:
            shown = _Shown([task for task in self.tasks if task.total is not None])
            if shown.html == self._last:
                return
            self._last = shown.html
            if self._handle is None:
                from IPython.display import display  # only ever in a kernel, which has it

                self._handle = display(shown, display_id=True)
            else:
                self._handle.update(shown)


class _Shown:
    """The tasks as they are now, in HTML and in words."""

    def __init__(self, tasks: list[Task]):
        self.html = "".join(f"{_bar(task)}<div>{text(_words(task))}</div>" for task in tasks)
        self._words = "\n".join(map(_words, tasks))

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return self._words


def _bar(task: Task) -> str:
    counts = task.fields.get("counts")
    return counts_bar(counts) if counts is not None else bar([(task.percentage / 100, PLAIN)])


def _words(task: Task) -> str:
    """Return `order-7: 3 of 12, 2 running, about 1 min left, 4 s`."""
    done, note = f"{task.completed:,.0f} of {task.total or 0:,.0f}", task.fields.get("note", "")
    parts = filter(None, (done, note, duration(int(task.elapsed or 0))))
    return visible(f"{task.description}: {', '.join(parts)}")
