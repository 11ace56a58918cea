"""Every error that the farm raises on purpose, in one tree.

A message says what failed, the value, and the cure. What follows from an error (the process's exit code, the HTTP
status, whether the worker tries the job again) follows from its class alone, by the attributes on it.

Whatever was sent, an error stays small: it names MAX_ERRORS fields or rows and counts the rest, and names, sentences
and messages are cut at their bounds, here and nowhere else.

    SigmafarmError
    ├── InvalidInput                    something that a person or client sent does not fit
    │   ├── InvalidRequest              one request, with all its bad fields
    │   ├── InvalidRows                 a submission, with all its bad rows and their numbers
    │   ├── UnreadableInput             a prompt file that cannot be opened or parsed at all
    │   ├── InvalidSettings             SIGMAFARM_* variables, .env or flags
    │   ├── UnknownModel                a model name that the farm does not serve
    │   ├── InvalidPicture              a file that is no picture, or none that is drawn from
    │   ├── TooLarge                    a body, or a number of rows, above what the API takes at once
    │   └── TooSlow                     a body that did not come in its time (try again)
    ├── NoKey                           a request to the API without a key, or with one that is none (any more)
    ├── NotAllowed                      a key without the scope, another site's page, a farm that is read-only
    ├── TooManyRequests                 above the rate of a key (try again)
    │   └── QuotaExceeded               more open jobs or bytes than an owner may have (try again)
    ├── NotFound                        a job, a batch or an image that does not exist
    ├── Conflict                        the state of a thing forbids what was asked
    │   ├── IllegalTransition           a job's move that the table does not have
    │   ├── SubmitInProgress            another submit holds the same idempotency key (try again)
    │   └── NotAlone                    a job that runs alone, and a worker that holds others (try again)
    ├── FarmUnavailable                 a service that we stand on does not answer (try again)
    │   ├── StoreUnavailable            Redis
    │   │   └── SpoiledRecord           a key of it was changed from outside and cannot be read
    │   ├── StorageUnavailable          the bucket or the folder
    │   ├── AccessDenied                Redis or the bucket refuses the credentials (trying again will not help)
    │   └── NewerRecords                a newer program wrote the farm's records (trying again will not help)
    ├── NotDrawnInTime                  pictures that a client waited for at its request, for too long
    ├── UnsafeServer                    a Redis that would lose data: eviction on, too old
    ├── DeviceUnusable                  a GPU that this build of PyTorch, or this driver, cannot use
    └── RenderError                     one job could not be drawn
        ├── PictureGone                 the picture that it begins with is not stored any more, or damaged
        ├── ModelNotLoadable            a folder that is no model, a missing part, unsafe weights
        ├── OutOfDeviceMemory           a passing shortage (try again)
        │   └── PictureTooLarge         a size that the device never had memory for, not even alone
        ├── TrajectoryDiverged          the latents left any sane range: the settings are too stiff
        ├── PictureNotFinite            a network answered NaN or infinities: the same weights would do so again
        ├── Dropped                     the job was cancelled, paused, handed back or its lease lost
        └── EngineStopped               the engine ended under the job (try again)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

#: Bad fields, and bad rows, that one error holds; and those that its message spells out. The rest is counted.
MAX_ERRORS, SHOWN_ERRORS = 100, 20
#: The cure where the picture of a job that succeeded is lost: such a job cannot be retried.
REDRAW = "submit its prompt and seed again: the same seed gives the same picture"
#: Longest name of a field, sentence about one thing, and message, in characters.
MAX_NAME_CHARS, MAX_SENTENCE_CHARS, MAX_MESSAGE_CHARS = 80, 500, 8_000


def cut(text: str, max_chars: int) -> str:
    """Return a text, or its beginning with the number of its characters."""
    return text if len(text) <= max_chars else f"{text[:max_chars]}... ({len(text)} characters)"


@dataclass(frozen=True)
class FieldError:
    """One bad field: its name, and a sentence with the value and the cure; both cut where they are too long."""

    field: str
    message: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "field", cut(self.field, MAX_NAME_CHARS))
        object.__setattr__(self, "message", cut(self.message, MAX_SENTENCE_CHARS))

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True)
class RowError:
    """All that is wrong with one row of a submission. `row` is the line number of the input, from 1."""

    row: int
    fields: tuple[FieldError, ...]

    def __str__(self) -> str:
        said = "; ".join(f.message for f in self.fields[:SHOWN_ERRORS])
        return cut(f"row {self.row}: {said}", MAX_SENTENCE_CHARS)


class SigmafarmError(Exception):
    """The root. Catch this to catch whatever the farm says on purpose."""

    #: Short, stable, for programs.
    code: str = "error"
    #: The status that the HTTP API answers with.
    http_status: int = 500
    #: The exit code of the command line: 1 some jobs failed, 2 usage, 3 farm out of reach.
    exit_code: int = 1
    #: Whether the same call may succeed later without any change by the caller.
    retryable: bool = False

    def __str__(self) -> str:
        return cut(super().__str__(), MAX_MESSAGE_CHARS)

    def __reduce__(self) -> tuple[Any, ...]:
        """Let any of them travel between processes, whatever its constructor takes: a pool waits for ever for an error
        that cannot be read."""
        return _restored, (type(self), self.args, self.__dict__)

    @property
    def fields(self) -> tuple[FieldError, ...]:
        """The bad fields, where the error is about fields."""
        return ()


def _restored(kind: type[SigmafarmError], args: tuple[Any, ...], state: dict[str, Any]) -> SigmafarmError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class InvalidInput(SigmafarmError):
    """Something that a person or client sent does not fit."""

    code, http_status, exit_code = "invalid_input", 422, 2


class InvalidRequest(InvalidInput):
    """One request with bad fields: the first MAX_ERRORS of them, and how many more there are."""

    code = "invalid_request"

    def __init__(self, fields: Iterable[FieldError], *, num_more: int = 0):
        found = iter(fields)
        self._fields = tuple(islice(found, MAX_ERRORS))
        #: Bad fields beyond those.
        self.num_more = num_more + sum(1 for _ in found)
        shown = [f.message for f in self._fields[:SHOWN_ERRORS]]
        if num_unsaid := len(self._fields) - len(shown) + self.num_more:
            shown.append(f"... and {num_unsaid} more like these")
        super().__init__("; ".join(shown))

    @property
    def fields(self) -> tuple[FieldError, ...]:
        return self._fields


class InvalidRows(InvalidInput):
    """A submission with bad rows. Nothing of it was accepted."""

    code = "invalid_rows"

    def __init__(self, rows: Sequence[RowError], num_rows: int | None = None, *, num_bad: int | None = None):
        #: The first MAX_ERRORS bad rows.
        self.rows = tuple(rows[:MAX_ERRORS])
        #: How many there are in all.
        self.num_bad = len(rows) if num_bad is None else num_bad
        #: How many rows the submission has, None where that is not known.
        self.num_rows = num_rows
        lines = [" ".join(str(r).splitlines()) for r in self.rows[:SHOWN_ERRORS]]
        if self.num_bad > len(lines):
            lines.append(f"... and {self.num_bad - len(lines)} more bad rows")
        of = f" of {num_rows}" if num_rows else ""
        what = f"{self.num_bad}{of} rows are bad, nothing was submitted"
        super().__init__(f"{what} (mend them, or leave them out by skip_bad):\n  " + "\n  ".join(lines))

    @property
    def fields(self) -> tuple[FieldError, ...]:
        found = (FieldError(f"{r.row}.{f.field}", f.message) for r in self.rows for f in r.fields)
        return tuple(islice(found, MAX_ERRORS))


class UnreadableInput(InvalidInput):
    """A prompt file that cannot be opened or parsed at all."""

    code = "unreadable_input"


class InvalidSettings(InvalidInput):
    """A SIGMAFARM_* variable, a line of .env or a flag that does not fit."""

    code = "invalid_settings"


class UnknownModel(InvalidInput):
    """A model that the farm does not serve."""

    code = "unknown_model"

    def __init__(self, name: str, known: Iterable[str]):
        self.name, self.known = name, tuple(sorted(known))
        names = ", ".join(self.known[:SHOWN_ERRORS]) + (", ..." if len(self.known) > SHOWN_ERRORS else "")
        have = f"this farm knows {names}" if self.known else "this farm knows no model yet"
        cure = "start a worker that serves it, or name it in the models file, as a model or among the aliases of one"
        super().__init__(f"model is {cut(name, MAX_NAME_CHARS)!r}: {have}; {cure}")

    @property
    def fields(self) -> tuple[FieldError, ...]:
        return (FieldError("model", str(self)),)


class InvalidPicture(InvalidInput):
    """A file that is no picture, is cut off, or is larger than a picture to draw from may be."""

    code = "invalid_picture"


class TooLarge(InvalidInput):
    """A body, or a number of rows, above what the API takes at once."""

    code, http_status = "too_large", 413


class TooSlow(InvalidInput):
    """A body that did not come in its time."""

    code, http_status, retryable = "too_slow", 408, True


class NoKey(SigmafarmError):
    """A request to the API without a key, or with one that is none (any more)."""

    code, http_status, exit_code = "no_key", 401, 2


class NotAllowed(SigmafarmError):
    """A key without the scope, another site's page, a farm that is read-only."""

    code, http_status, exit_code = "not_allowed", 403, 2


class TooManyRequests(SigmafarmError):
    """Above the rate or the quota of a key."""

    code, http_status, retryable, exit_code = "too_many_requests", 429, True, 3

    def __init__(self, message: str, retry_after_s: float):
        super().__init__(message)
        #: After how long it is worth another try.
        self.retry_after_s = retry_after_s


class QuotaExceeded(TooManyRequests):
    """More open jobs, or bytes of them, than an owner may have. Nothing of what was asked was done."""

    #: After how long an owner above the quota may come back.
    RETRY_AFTER_S = 30.0

    def __init__(self, message: str):
        super().__init__(message, self.RETRY_AFTER_S)


class NotFound(SigmafarmError):
    """A job, batch or image that does not exist (or whose record has expired)."""

    code, http_status, exit_code = "not_found", 404, 2


class Conflict(SigmafarmError):
    """The state of a thing forbids what was asked."""

    code, http_status, exit_code = "conflict", 409, 2


class IllegalTransition(Conflict):
    """A move that the table of states does not have. The message names both states."""

    code = "illegal_transition"


class SubmitInProgress(Conflict):
    """Another submit is writing the batch of the same idempotency key just now."""

    code, retryable, exit_code = "submit_in_progress", True, 3


class NotAlone(Conflict):
    """A job that was there when workers died must run alone, and its worker still holds others."""

    code, retryable = "not_alone", True


class FarmUnavailable(SigmafarmError):
    """A service that the farm stands on does not answer."""

    code, http_status, exit_code, retryable = "unavailable", 503, 3, True


class StoreUnavailable(FarmUnavailable):
    """Redis does not answer, or is full."""

    code = "store_unavailable"


class RecordsLost(SigmafarmError):
    """What was accepted and waited for is gone from the records: a Redis that crashed, or was put back, lost its newest
    writes. Sent again, it is accepted anew; waiting brings nothing back."""

    code, http_status, exit_code, retryable = "records_lost", 503, 3, True


class SpoiledRecord(StoreUnavailable):
    """A record in Redis that was changed from outside: of another type, or of another shape, than the farm writes."""

    code = "spoiled_record"


class StorageUnavailable(FarmUnavailable):
    """The bucket or the folder does not answer."""

    code = "storage_unavailable"


class AccessDenied(FarmUnavailable):
    """Redis or the bucket refuses our credentials."""

    code, retryable = "access_denied", False


class NewerRecords(FarmUnavailable):
    """A newer program wrote the farm's records, and this one could misread or spoil them: it does nothing there."""

    code, retryable = "newer_records", False


class NotDrawnInTime(SigmafarmError):
    """Pictures that a client waited for at its request, for too long: they were cancelled."""

    code, http_status = "not_drawn_in_time", 504


class UnsafeServer(SigmafarmError):
    """A Redis that would lose jobs: eviction on, or too old."""

    code, http_status, exit_code = "unsafe_server", 503, 3


class RenderError(SigmafarmError):
    """One job could not be drawn."""

    code = "render_failed"


class PictureGone(RenderError):
    """The picture that a job begins with, or its mask, is not stored any more, or is damaged: no other try."""

    code = "picture_gone"


class ModelNotLoadable(RenderError):
    """A folder that is no model, a part that is missing, weights that are not safetensors."""

    code, exit_code = "model_not_loadable", 2


class OutOfDeviceMemory(RenderError):
    """The device had no memory left for this job, though it once had for as large a picture."""

    code, retryable = "out_of_device_memory", True


class PictureTooLarge(OutOfDeviceMemory):
    """The device has no memory for a picture of this size even alone, and never had for one as large: no other try."""

    code, retryable = "picture_too_large", False


class TrajectoryDiverged(RenderError):
    """The latents left any sane range: the settings are too stiff for the sampler."""

    code = "trajectory_diverged"


class PictureNotFinite(RenderError):
    """A network answered NaN or infinities, in the embeddings, the latents or the picture. The same weights would do so
    again, on any worker: no other try."""

    code = "picture_not_finite"


class DeviceUnusable(SigmafarmError):
    """A GPU that is there, and that the worker's PyTorch can never use: its build, or the driver, is not for it."""

    code, exit_code = "device_unusable", 2


class Dropped(RenderError):
    """The job left the engine before its end: cancelled, paused, handed back, or its lease lost."""

    code = "dropped"


class EngineStopped(RenderError):
    """The engine ended under the job. `was_drawn`: the job was in a pass then, and may be what ended it."""

    code, retryable = "engine_stopped", True

    def __init__(self, message: str, *, was_drawn: bool = False):
        super().__init__(message)
        self.was_drawn = was_drawn
