"""A client of the OpenAI front with little patience that comes back: it leaves, and asks again until it is answered."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx2

#: Pause before another try. As long as it is, a client is away when the timer of its first leave would fire.
PAUSE_S = 1.5
#: Statuses that are worth another try where no header says so: the batch was cancelled under it, or the farm is away.
COME_BACK = frozenset({409, 429, 500, 502, 503, 504})


@dataclass
class Returning:
    """One request for one picture, sent until it is answered."""

    prompt: str
    steps: int
    #: Seconds after which it leaves.
    patience_s: float
    #: What it calls its request. Without, it counts its retries as openai's own clients do.
    key: str = ""
    #: What every try came to: a status, or what ended it.
    tries: list[str] = field(default_factory=list)
    picture: bytes = b""
    #: What it was refused with for good.
    refusal: str = ""

    @property
    def is_over(self) -> bool:
        return bool(self.picture or self.refusal)

    @property
    def body(self) -> dict[str, Any]:
        size = {"height": 64, "width": 64}
        return {"prompt": self.prompt, "steps": self.steps, "seed": 1, "response_format": "b64_json", **size}

    def ask_until_answered(self, address: Callable[[], str], stop: threading.Event) -> None:
        """Ask again and again. `address` tells where the API is now: it may have been started again."""
        while not self.is_over and not stop.is_set():
            self.ask(address())
            if not self.is_over:
                stop.wait(PAUSE_S)

    def ask(self, address: str) -> None:
        """Ask once and wait for as long as the patience lasts."""
        headers = {"Idempotency-Key": self.key} if self.key else {"x-stainless-retry-count": str(len(self.tries))}
        try:
            url = f"{address}/v1/images/generations"
            answer = httpx2.post(url, json=self.body, headers=headers, timeout=self.patience_s, trust_env=False)
        except httpx2.HTTPError as error:
            self.tries.append(type(error).__name__)
            return
        self.tries.append(str(answer.status_code))
        if answer.status_code == 200:
            self.picture = base64.b64decode(answer.json()["data"][0]["b64_json"])
        elif answer.status_code not in COME_BACK:
            self.refusal = f"{answer.status_code}: {answer.text[:300]}"
