"""What every command is beside its function: errors that name flags as they were typed, help that fits a terminal."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup

from sigmafarm.cli.flag_names import named_as_typed
from sigmafarm_common.errors import SigmafarmError


class Command(TyperCommand):
    """A command of the program; its epilog is a use of it."""

    def invoke(self, ctx: Any) -> Any:
        """Run it. Raises what it raises, in the words of the command line."""
        try:
            return super().invoke(ctx)
        except SigmafarmError as error:
            raise named_as_typed(error, self.params, ctx.params) from None

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help."""
        del formatter  # typer's own cuts long flags
        _print_help(self, ctx)


class Group(TyperGroup):
    """A group of commands, whose help is as theirs."""

    #: A use of one of them; empty for the program, each of whose commands has its own.
    example = ""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help."""
        del formatter  # typer's own cuts long flags
        _print_help(self, ctx)


def _print_help(command: Any, ctx: Any) -> None:
    from sigmafarm.cli.help_pages import print_help  # brings rich: only when asked

    print_help(command, ctx)
