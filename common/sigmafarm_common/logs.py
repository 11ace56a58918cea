"""How the farm's processes write their logs: structlog on stderr, readable on a terminal, JSON in a container.

`set_up(config)` is called once by each process's main function. Lines of other libraries (celery, botocore) take the
same road. Invariant: but for DEBUG no line carries a prompt, a key or a presigned link in a field, whoever logs it;
passwords in URLs never show at all.
"""

from __future__ import annotations

import io
import logging
import sys
import textwrap
from collections.abc import Mapping
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from sigmafarm_common.config import Config, LogFormat, masked
from sigmafarm_common.settings import LONG_TEXTS
from sigmafarm_common.visible import visible

#: Fields that show only at DEBUG.
PRIVATE_FIELDS = frozenset({*LONG_TEXTS, "request", "idempotency_key", "api_key", "secret", "presigned"})
#: Libraries whose INFO is noise.
QUIET_LIBRARIES = ("botocore", "boto3", "urllib3", "s3transfer", "celery.worker.strategy", "kombu")


def set_up(config: Config, *, stream: TextIO | None = None, **fields: Any) -> None:
    """Send every log line of this process to stderr (or a stream); the fields stand on each line."""
    target: TextIO = stream or sys.stderr
    level = logging.getLevelNamesMapping()[config.log_level.upper()]
    renderers = _renderers(config.log_format, target)
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_shared_processors(),
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _without_secrets,
                *renderers,
            ],
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in QUIET_LIBRARIES:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    structlog.configure(
        processors=[*_shared_processors(), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(**fields)


def _shared_processors() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]


def _renderers(log_format: LogFormat, stream: TextIO) -> list[Processor]:
    is_terminal = stream.isatty()
    if log_format is LogFormat.CONSOLE or (log_format is LogFormat.AUTO and is_terminal):
        # A plain traceback: the default one shows the values of local variables, prompts and keys among them.
        return [_visible, structlog.dev.ConsoleRenderer(colors=is_terminal, exception_formatter=_print_traceback)]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]


def _visible(_logger: WrappedLogger, _method: str, event: EventDict) -> Mapping[str, Any]:
    """Show the control characters of texts: prompts, names and errors of others must not drive the terminal."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = visible(value, keep="\n" if name == "stack" else "")
        elif isinstance(value, BaseException):
            event[name] = visible(str(value))
    return event


def _print_traceback(stream: TextIO, exc_info: Any) -> None:
    """Write a traceback indented: what an error says on a second line must not look like a line of the log."""
    written = io.StringIO()
    structlog.dev.plain_traceback(written, exc_info)
    stream.write(textwrap.indent(visible(written.getvalue(), keep="\n"), "  "))


def _without_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> Mapping[str, Any]:
    is_debug = event.get("level") == "debug"
    for name, value in event.items():
        if name in PRIVATE_FIELDS and not is_debug:
            event[name] = "(hidden)"
        elif isinstance(value, str):
            event[name] = masked(value)
    return event
