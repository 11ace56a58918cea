"""Logs: one shape for every line, and nothing private in them."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from sigmafarm_common import logs
from sigmafarm_common.config import Config


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_lines_are_json_with_the_fields_of_the_process_where_no_terminal_is():
    stream = io.StringIO()
    logs.set_up(Config(), stream=stream, worker="w1")

    structlog.get_logger("sigmafarm").info("claimed", job="j1", batch="b1")

    (line,) = lines(stream)
    assert line["event"] == "claimed"
    assert (line["worker"], line["job"], line["batch"], line["level"]) == ("w1", "j1", "b1", "info")


def test_other_libraries_take_the_same_road():
    stream = io.StringIO()
    logs.set_up(Config(), stream=stream)

    logging.getLogger("celery").warning("lost %s", "redis://u:hush@h/0")

    (line,) = lines(stream)
    assert line["event"] == "lost redis://u:***@h/0"
    assert line["logger"] == "celery"


def test_prompts_and_keys_show_at_debug_only():
    stream = io.StringIO()
    logs.set_up(Config(log_level="debug"), stream=stream)
    logger = structlog.get_logger("sigmafarm")

    logger.info("submitted", prompt="a secret wish", idempotency_key="k1")
    logger.debug("submitted", prompt="a secret wish")

    info, debug = lines(stream)
    assert info["prompt"] == info["idempotency_key"] == "(hidden)"
    assert debug["prompt"] == "a secret wish"


def test_less_severe_lines_than_the_level_are_not_written():
    stream = io.StringIO()
    logs.set_up(Config(log_level="warning"), stream=stream)

    structlog.get_logger("sigmafarm").info("quiet")

    assert stream.getvalue() == ""


def test_the_console_format_is_for_people():
    stream = io.StringIO()
    logs.set_up(Config(log_format="console"), stream=stream)

    structlog.get_logger("sigmafarm").info("claimed", job="j1")

    assert "claimed" in stream.getvalue()
    assert "job=j1" in stream.getvalue()


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_traceback_shows_no_values_of_variables(log_format: str):
    stream = io.StringIO()
    logs.set_up(Config(log_format=log_format), stream=stream)

    def fail(prompt: str) -> None:
        raise ValueError("no luck")

    secret = "hu" + "sh"  # the source line of a traceback may be shown, its values may not
    try:
        fail(secret)
    except ValueError:
        structlog.get_logger("sigmafarm").exception("failed")
        logging.getLogger("celery").exception("failed")

    assert stream.getvalue().count("ValueError: no luck") == 2
    assert "hush" not in stream.getvalue()


def test_a_console_is_driven_by_nobody_who_is_logged():
    hostile = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e\nwarning all is well"
    stream = io.StringIO()
    logs.set_up(Config(log_format="console"), stream=stream, worker=hostile)
    logger = structlog.get_logger("sigmafarm")

    logger.info(hostile, batch=hostile, said=[hostile], error=ValueError(hostile))
    logging.getLogger("celery").warning("%s", hostile)
    try:
        raise ValueError(hostile)
    except ValueError:
        logger.exception("failed")

    said = stream.getvalue()
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(said)
    assert not [line for line in said.splitlines() if line.startswith("warning all")]
    assert r"\x1b]0;owned\x07" in said
