"""One line of what the doctor says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Grade(StrEnum):
    """How bad it is."""

    #: As it should be.
    OK = "ok"
    #: It works, and may lose jobs or time.
    WARN = "warn"
    #: It does not work, or would lose jobs: start-up refuses where it looks at this.
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """What was looked at, how it is, and the cure where it is not as it should be."""

    grade: Grade
    subject: str
    message: str


def ok(subject: str, message: str) -> Finding:
    return Finding(Grade.OK, subject, message)


def warn(subject: str, message: str) -> Finding:
    return Finding(Grade.WARN, subject, message)


def fail(subject: str, message: str) -> Finding:
    return Finding(Grade.FAIL, subject, message)
