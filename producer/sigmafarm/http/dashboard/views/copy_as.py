"""The same by other means: a job or a batch as a command, as Python and as curl, to be copied.

Prompts are anybody's text: each is quoted for the shell, or said as JSON. No key stands in it: $KEY is the reader's.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import Any

from sigmafarm_common.records import Batch, Job
from sigmafarm_common.setting_fields import Kind, text_of
from sigmafarm_common.settings import SETTING_FIELDS

#: Prompts beyond this make commands that no terminal takes; they are left to files.
MAX_PROMPT_CHARS = 4000


@dataclass(frozen=True)
class CopyAs:
    """One way to say it."""

    name: str
    text: str


def copies_of_job(job: Job, address: str, *, has_keys: bool) -> list[CopyAs]:
    """Return how a job is submitted again as it is; nothing for one that is too long to be copied."""
    said = {name: value for name, value in job.request.said().items() if name in SETTING_FIELDS}
    prompt = job.request.prompt
    if len(prompt) > MAX_PROMPT_CHARS:
        return []
    flags = [word for name, value in said.items() for word in _flag(name, value)]
    settings = ", ".join(f"{name!r}: {value!r}" for name, value in said.items())
    body = json.dumps({"jobs": [{"prompt": prompt, **said}]}, ensure_ascii=True)
    return [
        CopyAs("Command", shlex.join(["sigmafarm", "submit", "--prompt", prompt, *flags])),
        CopyAs("Python", f"Farm.from_env().submit([{{{'prompt'!r}: {prompt!r}, {settings}}}])"),
        CopyAs("curl", f"curl {shlex.quote(f'{address}/v1/batches')}{_key(has_keys)} --json {shlex.quote(body)}"),
    ]


def copies_of_batch(batch: Batch, address: str, *, has_keys: bool) -> list[CopyAs]:
    """Return how a batch is followed, and its pictures fetched."""
    zipped = shlex.quote(f"{address}/v1/batches/{batch.id}/download.zip")
    return [
        CopyAs("Command", f"sigmafarm status {batch.id} --watch && sigmafarm download {batch.id} --out {batch.id}/"),
        CopyAs("Python", f"batch = Farm.from_env().batch({batch.id!r}); batch.wait(); batch.download({batch.id!r})"),
        CopyAs("curl", f"curl -C - -o {batch.id}.zip {zipped}{_key(has_keys)}"),
    ]


def _flag(name: str, value: Any) -> list[str]:
    field = SETTING_FIELDS[name]
    flag = field.flags[0]
    if field.kind is Kind.SWITCH:
        return [flag if value else f"--no-{flag.removeprefix('--')}"]
    return [flag, text_of(value)]


def _key(has_keys: bool) -> str:
    return ' -H "Authorization: Bearer $KEY"' if has_keys else ""
