"""Every setting of the farm, in one frozen record: flags over SIGMAFARM_* variables over .env over defaults.

`Config.load(lease_s=5)` reads them all once; nothing else in the farm looks at the environment. A bad value raises
InvalidSettings, which names the variable, the value and the cure. Passwords never show: not in `repr`, not in
`sources`, not in an error. `python -m sigmafarm_common.config` prints the table of common/README.md.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import AfterValidator, Field, PrivateAttr, ValidationError
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

from sigmafarm_common.errors import FieldError, InvalidSettings, StoreUnavailable
from sigmafarm_common.place import BucketPlace, FolderPlace, read_place
from sigmafarm_common.redis_address import RedisAddress, parse_redis_url
from sigmafarm_common.settings import MODEL_NAME
from sigmafarm_common.validation import field_errors

#: What every variable begins with.
PREFIX = "SIGMAFARM_"
#: The file of variables that is read in the working directory.
ENV_FILE = ".env"
#: The file in data_dir in which a running embedded broker leaves its URL.
BROKER_URL_FILE = "broker.url"


class LogFormat(StrEnum):
    """How log lines look."""

    #: Console on a terminal, JSON otherwise.
    AUTO = "auto"
    #: Readable, coloured where it may be.
    CONSOLE = "console"
    #: One JSON object a line.
    JSON = "json"


class LogLevel(StrEnum):
    """The least severe lines that are written."""

    #: Everything, prompts included.
    DEBUG = "debug"
    #: What happens to batches, jobs and workers; no prompt, key or presigned link.
    INFO = "info"
    #: What may need attention.
    WARNING = "warning"
    #: What needs it.
    ERROR = "error"


class Source(StrEnum):
    """Where a setting's value comes from, strongest first."""

    #: Said in the call or on the command line.
    FLAG = "flag"
    #: A SIGMAFARM_* variable of the environment.
    ENVIRONMENT = "environment"
    #: A line of .env in the working directory.
    ENV_FILE = ".env"
    #: The embedded farm that runs in data_dir.
    EMBEDDED = "embedded farm"
    #: Nobody said anything.
    DEFAULT = "default"


@dataclass(frozen=True)
class SettingSource:
    """One setting as `sigmafarm config` shows it: secrets masked."""

    name: str
    variable: str
    value: str
    source: Source
    description: str


def _redis_url(value: str) -> str:
    try:
        parse_redis_url(value)
    except ValueError as error:
        raise PydanticCustomError("redis_url", "{why}", {"why": str(error)}) from None
    return value


def _objects_url(value: str) -> str:
    try:
        place = read_place(value)
    except ValueError as error:
        raise PydanticCustomError("objects_url", "{why}", {"why": str(error)}) from None
    if isinstance(place, BucketPlace) or value.lower().startswith("file:"):
        return value
    return str(place.folder)


def _path(value: Path) -> Path:
    """Return a path as it is meant where it is said: a process that is started, or goes elsewhere, means the same."""
    try:
        return (value.expanduser() if str(value).startswith("~") else value).absolute()
    except RuntimeError:
        why = "must begin with a home folder that exists, or with ./ where ~ is part of a name"
        raise PydanticCustomError("path", "{why}", {"why": why}) from None


def _endpoint_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        is_server = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets or a port that are none
        is_server = False
    if not is_server or re.search(r"[\s\x00-\x1f\x7f]", value):
        raise PydanticCustomError("endpoint_url", "must be a URL such as http://localhost:8333")
    if re.search("[?#@]", value):
        raise PydanticCustomError(
            "endpoint_url",
            "must be an address alone, such as http://localhost:8333: keys belong into AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY",
        )
    return value


def _dashboard_url(value: str) -> str:
    try:
        return _endpoint_url(value)
    except PydanticCustomError:
        said = "must be an address alone, such as https://farm.example.org"
        raise PydanticCustomError("dashboard_url", said) from None


def _device(value: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?|mps", value):
        raise PydanticCustomError("device", "must be auto, cpu, cuda, cuda:N or mps")
    return value


def default_data_dir() -> Path:
    """Return the farm's folder in the XDG data home."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share").absolute() / "sigmafarm"


Seconds = Annotated[float, Field(gt=0, le=86_400)]
Limit = Annotated[int, Field(ge=1)]
AbsolutePath = Annotated[Path, AfterValidator(_path)]


class Config(BaseSettings):
    """The farm's settings. Build with `Config.load(**flags)`, or `Config(**flags)`; both raise InvalidSettings."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=ENV_FILE,
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        allow_inf_nan=False,
        protected_namespaces=(),
    )

    redis_url: Annotated[str, AfterValidator(_redis_url)] | None = Field(
        None, description="The Redis or Valkey that holds the farm's records. Unset: the embedded farm in data_dir."
    )
    namespace: Annotated[str, Field(pattern=MODEL_NAME)] = Field(
        "sigmafarm", description="What every Redis key begins with; two farms may share a server under two names."
    )
    objects_url: Annotated[str, AfterValidator(_objects_url)] | None = Field(
        None,
        description="Where pictures lie: s3://bucket/prefix, file:///folder or a path, taken whole: `#`, `?` and `%` "
        "too are parts of a prefix or path (not of a URL of a file). Unset: data_dir/objects.",
    )
    s3_endpoint_url: Annotated[str, AfterValidator(_endpoint_url)] | None = Field(
        None, description="The S3 server's URL. Unset: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, then Amazon's."
    )
    data_dir: AbsolutePath = Field(
        default_factory=default_data_dir, description="The folder of everything that the embedded farm keeps."
    )
    models_file: AbsolutePath | None = Field(
        None, description="The TOML file that names the farm's models. Unset: the bundled model."
    )
    wildcards: AbsolutePath | None = Field(
        None,
        description="The folder of lists: animal.txt is what `__animal__` stands for, in prompts with alternatives.",
    )
    default_model: Annotated[str, Field(pattern=MODEL_NAME)] | None = Field(
        None, description="The model of requests that name none. Unset: the only model, or the models file's first."
    )
    owner: Annotated[str, Field(min_length=1, max_length=64)] = Field(
        "local", description="Whose batches these are; capacity is shared fairly between owners."
    )
    lease_s: Seconds = Field(15.0, description="How long a worker may keep a job without a step being done.")
    tick_s: Seconds = Field(0.5, description="Pause between two rounds of the keeper.")
    unclaimed_s: Seconds = Field(
        9.0, description="A job whose wake-up call nobody claimed for this long is dispatched again."
    )
    retry_delay_s: Annotated[float, Field(ge=0, le=86_400)] = Field(
        2.0, description="Pause before a job's second try; doubled before each further one, up to a minute."
    )
    max_attempts: Limit = Field(3, description="Tries that may end in a raised error before a job has failed.")
    max_losses: Limit = Field(
        5, description="Deaths of worker processes that a job may be part of before it has failed."
    )
    max_failures: Limit = Field(
        5, description="A worker on which so many jobs fail in a row by no fault of theirs hands back and is replaced."
    )
    max_images: Limit | None = Field(
        None,
        description="The most pictures that one engine draws at once. Unset: 16, or as many as its GPU has memory for.",
    )
    lookahead: Annotated[int, Field(ge=0)] = Field(
        4, description="Jobs that a worker holds ready beyond those, so that no slot stays empty."
    )
    drain_s: Annotated[float, Field(ge=0, le=86_400)] = Field(
        30.0, description="How long a worker that is told to stop may go on drawing before it hands its jobs back."
    )
    stall_s: Seconds = Field(10.0, description="An engine that does no step for this long is ended and replaced.")
    redis_timeout_s: Seconds = Field(5.0, description="The longest that any call waits for Redis.")
    event_limit: Limit = Field(10_000, description="About how many events the stream keeps.")
    submit_stale_s: Seconds = Field(
        60.0, description="A submission that wrote nothing for this long is taken for dead and discarded."
    )
    durable_submit: bool = Field(
        False,
        description="A submit is answered once Redis has it on its disk, about a second later: a crash of its machine "
        "loses nothing that was accepted. Needs appendonly, and Redis 7.2 or Valkey.",
    )
    retention_s: Annotated[float, Field(ge=0, le=315_360_000)] = Field(
        604_800.0,
        description="How long a finished batch is remembered after its end: then its records and its idempotency key "
        "go, its pictures and its manifest stay. 0: for ever.",
    )
    upload_keep_s: Annotated[float, Field(ge=0, le=315_360_000)] = Field(
        86_400.0,
        description="How long an uploaded picture is kept that no batch uses: then it is removed. 0: for ever.",
    )
    device: Annotated[str, AfterValidator(_device)] = Field(
        "auto", description="What a worker draws on: auto (every GPU, else the CPU), cpu, cuda, cuda:N or mps."
    )
    compile_unet: bool = Field(
        False,
        description="Compile each model's UNet at a worker's start (torch.compile; wants a C++ compiler): minutes the "
        "first time, then faster passes at the model's native size.",
    )
    tune_convolutions: bool = Field(
        False,
        description="Let cuDNN measure its kernels for each new shape of a convolution and take the fastest: on a GPU, "
        "some per cent. A picture's bits may then differ from one start of a worker to the next.",
    )
    num_threads: Limit | None = Field(None, description="CPU threads of one worker. Unset: its share of the cores.")
    cpu_niceness: Annotated[int, Field(ge=0, le=19)] = Field(
        10, description="How far a worker that draws on the CPU stands back for all else on its machine: 0 to 19."
    )
    http_host: Annotated[str, Field(min_length=1, max_length=255)] = Field(
        "127.0.0.1",
        description="Where the API and the dashboard listen. Anything but loopback needs keys: `sigmafarm keys add`.",
    )
    http_port: Annotated[int, Field(ge=0, le=65_535)] = Field(8420, description="Their port; 0 takes any that is free.")
    dashboard_url: Annotated[str, AfterValidator(_dashboard_url)] | None = Field(
        None, description="Where people find the dashboard, for `sigmafarm open`; unless said, where one runs here."
    )
    read_only: bool = Field(False, description="The API and the dashboard show everything and change nothing.")
    image_links: bool = Field(
        True,
        description="Pictures in a bucket are answered by links into it; false: the API streams them, for clients that "
        "cannot reach the bucket.",
    )
    max_body_bytes: Limit = Field(67_108_864, description="The largest submission that the API takes, in bytes.")
    max_rows: Limit = Field(100_000, description="The most jobs that one submission to the API may make.")
    rate_per_s: Annotated[float, Field(ge=0)] = Field(
        100.0, description="Requests a second that a key of the API may make. 0: any number."
    )
    rate_burst: Limit = Field(1_000, description="Requests that a key may make at once, when it made few before.")
    max_connections: Limit = Field(
        10_000,
        description="Connections that the API holds at once. Fewer where the limit of open files, which it raises as "
        "far as it may, allows fewer.",
    )
    max_streams: Limit = Field(
        1_000, description="Event streams, and clients that wait for pictures, of all owners; half of the connections."
    )
    max_owner_streams: Limit = Field(300, description="Those of one owner, or without keys; a third of them at most.")
    max_key_streams: Limit = Field(200, description="Those of one key; a fifth of them at most.")
    header_wait_s: Seconds = Field(10.0, description="How long a request's headers may take to come whole.")
    body_wait_s: Seconds = Field(
        30.0, description="How long a body may take to come whole, and a second more for each 16 KiB of it that came."
    )
    max_open_jobs: Annotated[int, Field(ge=0)] = Field(
        1_000_000, description="Jobs that an owner may have queued or running by way of the API. 0: any number."
    )
    max_open_bytes: Annotated[int, Field(ge=0)] = Field(
        268_435_456,
        description="Bytes of prompts and settings that an owner's batches with open jobs may hold in Redis, by way of "
        "the API; what rows of a batch share counts once. 0: any number.",
    )
    max_upload_bytes: Annotated[int, Field(ge=0)] = Field(
        2_147_483_648,
        description="Bytes of uploaded pictures that an owner may have stored, by way of the API. 0: any number.",
    )
    draw_wait_s: Seconds = Field(
        540.0,
        description="How long an OpenAI or AUTOMATIC1111 client waits for its pictures: then they are cancelled.",
    )
    log_level: LogLevel = Field(LogLevel.INFO, description="The least severe log lines written.")
    log_format: LogFormat = Field(
        LogFormat.AUTO, description="console, json, or auto: console on a terminal, else JSON."
    )

    _sources: dict[str, Source] = PrivateAttr(default_factory=dict[str, Source])

    def __init__(self, **flags: Any):
        said = _who_said(flags)
        try:
            super().__init__(**flags)
        except ValidationError as error:
            raise InvalidSettings("; ".join(_sentences(error, said))) from None
        self._sources.update(said)
        url = None if self.redis_url else _embedded_broker_url(self.data_dir)
        if url is not None:
            object.__setattr__(self, "redis_url", url)
            self._sources["redis_url"] = Source.EMBEDDED

    @classmethod
    def load(cls, **flags: Any) -> Self:
        """Return the settings; a flag that is None was not given. Raises InvalidSettings."""
        unknown = sorted(set(flags) - set(cls.model_fields))
        if unknown:
            raise InvalidSettings(f"{unknown[0]} is no setting{_did_you_mean(unknown[0], cls.model_fields)}")
        return cls(**{name: value for name, value in flags.items() if value is not None})

    def replaced(self, **changes: Any) -> Self:
        """Return these settings with some said anew, as strongly as flags. Raises InvalidSettings."""
        flags = {name: getattr(self, name) for name, source in self._sources.items() if source is Source.FLAG}
        return type(self).load(**{**flags, **changes})

    def require_redis_url(self) -> str:
        """Return the Redis URL. Raises StoreUnavailable, with the cure, where there is none."""
        if self.redis_url is None:
            raise StoreUnavailable(
                f"no farm to talk to: SIGMAFARM_REDIS_URL is not set and no embedded farm runs in {self.data_dir}; "
                "start one with `sigmafarm up`, or set SIGMAFARM_REDIS_URL=redis://host:6379/0"
            )
        return self.redis_url

    def redis_address(self) -> RedisAddress:
        """Return the parts of the Redis URL. Raises StoreUnavailable, with the cure, where there is none."""
        return parse_redis_url(self.require_redis_url())

    @property
    def objects_place(self) -> str:
        """Where pictures lie, with the default filled in, as people read it."""
        return self.objects_url or str(self.data_dir / "objects")

    @property
    def place(self) -> BucketPlace | FolderPlace:
        """Where pictures lie, with the default filled in."""
        return read_place(self.objects_url) if self.objects_url else FolderPlace(self.data_dir / "objects")

    def sources(self) -> list[SettingSource]:
        """Return each setting's value, masked, and where it came from."""
        return [
            SettingSource(
                name=name,
                variable=variable(name),
                value=_shown(getattr(self, name)),
                source=self._sources.get(name, Source.DEFAULT),
                description=field.description or "",
            )
            for name, field in type(self).model_fields.items()
        ]

    def environ(self) -> dict[str, str]:
        """Return the settings that somebody said, as variables for a process to be started."""
        names = [name for name in type(self).model_fields if name in self._sources]
        return {variable(name): str(getattr(self, name)) for name in names if getattr(self, name) is not None}

    def __repr_args__(self) -> list[tuple[str | None, Any]]:
        return [(name, masked(value) if isinstance(value, str) else value) for name, value in self.__dict__.items()]


def variable(name: str) -> str:
    """Return the variable of a setting."""
    return PREFIX + name.upper()


def masked(text: str) -> str:
    """Return a text with the password of every URL in it replaced by three stars, in front of the host or behind it."""
    text = re.sub(r"(://[^/@\s:]*):\S*(@|\.\.\.)", r"\1:***\2", text)
    return re.sub(r"([?&]\w*password=)[^&\s;]*", r"\1***", text)


def unknown_variables() -> list[str]:
    """Return a sentence for every SIGMAFARM_* variable in the environment or .env that names no setting."""
    names = {name for name in (*os.environ, *env_file_values()) if name.upper().startswith(PREFIX)}
    known = [variable(name) for name in Config.model_fields]
    strange = sorted(name for name in names if name.upper() not in known)
    return [f"{name} names no setting{_did_you_mean(name, known)}" for name in strange]


def env_file_values() -> dict[str, str]:
    """Return what .env in the working directory says; AWS_* lines are for the object store."""
    try:
        values = dotenv_values(ENV_FILE, encoding="utf-8") if Path(ENV_FILE).is_file() else {}
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSettings(f"{ENV_FILE} cannot be read: {error}; mend it or move it away") from None
    return {name: value for name, value in values.items() if value}


def settings_table() -> str:
    """Return the table of all settings in Markdown, as common/README.md shows it."""
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in Config.model_fields.items():
        default = "`$XDG_DATA_HOME/sigmafarm`" if name == "data_dir" else _shown(field.default, quote="`")
        lines.append(f"| `{variable(name)}` | {default} | {field.description} |")
    return "\n".join(lines)


def _who_said(flags: Mapping[str, Any]) -> dict[str, Source]:
    environment = {name.upper() for name, value in os.environ.items() if value}
    env_file = {name.upper() for name in env_file_values()}
    said: dict[str, Source] = {}
    for name in Config.model_fields:
        if name in flags:
            said[name] = Source.FLAG
        elif variable(name) in environment:
            said[name] = Source.ENVIRONMENT
        elif variable(name) in env_file:
            said[name] = Source.ENV_FILE
    return said


def _sentences(error: ValidationError, said: Mapping[str, Source]) -> list[str]:
    return [masked(_without_password(_named(found, said), found.field)) for found in field_errors(error)]


def _without_password(sentence: str, name: str) -> str:
    """Hide the password of a Redis URL that is so wrong that nobody can say where its password ends."""
    if name != "redis_url":
        return sentence
    value, mark, cure = sentence.partition(": must ")
    return re.sub(r"(://[^/@\s:]*):.*@|(://):.*", r"\1\2:***@", value, flags=re.DOTALL) + mark + cure


def _named(found: FieldError, said: Mapping[str, Source]) -> str:
    source = said.get(found.field, Source.DEFAULT)
    name = found.field if source is Source.FLAG else variable(found.field)
    place = "" if source is Source.ENVIRONMENT else f" ({source})"
    return name + place + found.message.removeprefix(found.field)


def _embedded_broker_url(data_dir: Path) -> str | None:
    """Return where the embedded farm of a data folder listens; what a killed one left behind counts as nothing."""
    try:
        url = (data_dir / BROKER_URL_FILE).read_text(encoding="utf-8").strip()
        return url if Path(parse_redis_url(url).path).is_socket() else None
    except (OSError, ValueError):
        return None


def _shown(value: Any, quote: str = "") -> str:
    return "" if value is None else f"{quote}{masked(str(value))}{quote}"


def _did_you_mean(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f": did you mean {near[0]}?" if near else ": see `sigmafarm config` for the names"


if __name__ == "__main__":
    import sys

    sys.stdout.write(settings_table() + "\n")
