"""The farm's HTTP API in a process of its own, and a client that knows what it promises while Redis is away."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2

from tests import programs
from tests.farm_harness import until
from tests.limits import LIMIT_S
from tests.promises import check_promise, seconds

#: Seconds in which the API must have an answer, whatever Redis does.
ANSWER_S = 2.0


class Api:
    """One `sigmafarm serve`, from its first answer to its end."""

    def __init__(self, environment: Mapping[str, str], log: Path):
        self.log = log
        with log.open("ab") as out:
            command = [sys.executable, "-m", "sigmafarm.cli", "serve", "--port", "0"]
            self.process = programs.start(command, env={**os.environ, **environment}, stdout=out, stderr=out)
        until(lambda: self._said() or self.process.poll() is not None, "the API listens")
        said = self._said()
        assert said, log.read_text()
        self.client = httpx2.Client(base_url=said[1], timeout=LIMIT_S)
        until(lambda: self.client.get("/healthz").status_code == 200, "the API answers")

    def _said(self) -> re.Match[str] | None:
        return re.search(r"dashboard are at (http://\S+)", self.log.read_text())

    def submit(self, *prompts: str, key: str = "") -> httpx2.Response:
        headers = {"Idempotency-Key": key} if key else {}
        return self.client.post("/v1/batches", json={"prompts": prompts}, headers=headers)

    def until_submitted(self, *prompts: str, key: str) -> str:
        """Submit with a key until it is taken, as a client does, and return the batch id."""
        answers: list[httpx2.Response] = []

        def is_taken() -> bool:
            answers.append(self.submit(*prompts, key=key))
            assert answers[-1].is_success or answers[-1].json()["retryable"], answers[-1].text
            return answers[-1].is_success

        until(is_taken, "the submit is taken")
        return answers[-1].json()["batch"]["id"]

    def cancel(self, batch_id: str) -> httpx2.Response:
        return self.client.post(f"/v1/batches/{batch_id}/cancel")

    def check_away(self, method: str, path: str, **said: Any) -> None:
        """Ask while Redis is away: 503 in time, in the one form of errors, and worth another try."""

        def took_s() -> float:
            began_s = time.monotonic()
            answer = self.client.request(method, path, **said)
            ended_s = time.monotonic()
            assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable"), answer.text
            assert answer.json()["retryable"]
            assert int(answer.headers["Retry-After"]) >= 1
            return ended_s - began_s

        check_promise(ANSWER_S, took_s, lambda: seconds(lambda: self.client.get("/healthz")), f"{method} {path}")

    def stop(self) -> None:
        """End it in order; at once if it does not."""
        self.client.close()
        self.process.terminate()
        try:
            self.process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
