"""The commands of the program: where each stands, in which panel of the help, and one use of it.

A command's module is imported when the command is called, or its help is asked for: `sigmafarm status` answers at once,
and brings nothing that only `up` needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from typer.main import get_command_from_info, get_group
from typer.models import CommandInfo

from sigmafarm.cli.command import Command, Group

#: Where the commands stand.
PACKAGE = "sigmafarm.cli"


@dataclass(frozen=True)
class Entry:
    """One command."""

    #: Its function, as `module:function`, or what makes a group of commands.
    place: str
    #: A use of it, as somebody types it.
    example: str
    #: What click is told of it beside its parameters.
    context: Mapping[str, Any] = field(default_factory=dict[str, Any])
    is_group: bool = False


_NUMBERS = {"ignore_unknown_options": True}  # -5 is a number
#: Its flags are those of the program that looks.
_PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
#: The commands by the panel that they stand in, in the order of the help.
PANELS: Mapping[str, Mapping[str, Entry]] = {
    "Start": {
        "up": Entry("start.up:up", "sigmafarm up --max-images 4"),
        "open": Entry("start.open_page:open_page", "sigmafarm open 06f2v3k9qabcdef"),
        "logs": Entry("start.logs:logs", "sigmafarm logs worker -f"),
        "serve": Entry("start.serve:serve", "sigmafarm serve --host 0.0.0.0 --port 8420"),
        "worker": Entry("start.up:worker", "sigmafarm --redis-url redis://farm:6379/0 worker --device cuda"),
        "examples": Entry("start.examples:examples", "sigmafarm examples refresher --out pictures"),
    },
    "Submit": {
        "submit": Entry("submit.prompts:submit", "sigmafarm submit prompts.csv --steps 30 --out pictures"),
        "upload": Entry("submit.pictures:upload", "sigmafarm upload boat.jpg mask.png"),
        "replay": Entry("submit.replay:replay", "sigmafarm replay pictures/000000.png"),
    },
    "Look": {
        "status": Entry("look.status:status", "sigmafarm status 06f2v3k9qabcdef --watch"),
        "jobs": Entry(
            "look.jobs:jobs",
            "sigmafarm jobs 06f2v3k9qabcdef --search 'zebra seed:7' --fields row,seed",
        ),
        "report": Entry("look.report:report", "sigmafarm report 06f2v3k9qabcdef --html report.html"),
        "download": Entry("look.download:download", "sigmafarm download 06f2v3k9qabcdef --out pictures --name-by id"),
        "sheet": Entry("look.sheet:sheet", "sigmafarm sheet 06f2v3k9qabcdef --out sheet.png"),
        "workers": Entry("look.lists:workers", "sigmafarm workers"),
        "models": Entry("look.lists:models", "sigmafarm models"),
        "inspect": Entry("look.inspect:inspect", 'sigmafarm inspect tokens --prompt "a boat"', _PASSED_ON),
    },
    "Steer": {
        "pause": Entry("steer.batches:pause", "sigmafarm pause 06f2v3k9qabcdef"),
        "resume": Entry("steer.batches:resume", "sigmafarm resume 06f2v3k9qabcdef"),
        "cancel": Entry("steer.batches:cancel", "sigmafarm cancel 06f2v3k9qabcdef"),
        "retry": Entry("steer.batches:retry", "sigmafarm retry 06f2v3k9qabcdef --cancelled"),
        "priority": Entry("steer.batches:priority", "sigmafarm priority 06f2v3k9qabcdef -5", _NUMBERS),
        "rate": Entry("steer.ratings:rate", "sigmafarm rate 06f2v3k9qabcdef-000003 5", _NUMBERS),
        "drain": Entry("steer.draining:drain", "sigmafarm drain gpu-box-1"),
        "undrain": Entry("steer.draining:undrain", "sigmafarm undrain gpu-box-1"),
    },
    "Care": {
        "doctor": Entry("care.operate:doctor", "sigmafarm doctor"),
        "check": Entry("care.operate:check", "sigmafarm check --deep"),
        "sweep": Entry("care.operate:sweep", "sigmafarm sweep --delete"),
        "adopt": Entry("care.adopt:adopt", "sigmafarm adopt --yes"),
        "keys": Entry("care.keys:make_app", "sigmafarm keys add notebook", is_group=True),
        "config": Entry("care.settings:config", "sigmafarm config"),
    },
}


class Program(Group):
    """The program, whose commands are imported when they are needed."""

    def __init__(self, **about: Any):
        super().__init__(**about)
        self.commands = Commands()

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names, without an import."""
        del ctx
        return list(self.commands)


class Commands(MutableMapping[str, Any]):
    """The commands by name, each made when it is asked for."""

    def __init__(self) -> None:
        self._entries = {name: (panel, e) for panel, entries in PANELS.items() for name, e in entries.items()}
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            panel, entry = self._entries[name]
            self._made[name] = _make(name, panel, entry)
        return self._made[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._made[name] = command

    def __delitem__(self, name: str) -> None:
        del self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def _make(name: str, panel: str, entry: Entry) -> Any:
    module, _, function = entry.place.partition(":")
    callback: Callable[..., Any] = getattr(import_module(f"{PACKAGE}.{module}"), function)
    if entry.is_group:
        group: Any = get_group(callback())
        group.name, group.rich_help_panel, group.example = name, panel, entry.example
        return group
    info = CommandInfo(
        name=name,
        callback=callback,
        cls=Command,
        context_settings=dict(entry.context),
        epilog=entry.example,
        rich_help_panel=panel,
    )
    return get_command_from_info(info, pretty_exceptions_short=False, rich_markup_mode="rich")
