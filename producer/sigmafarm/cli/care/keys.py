"""`sigmafarm keys add|list|revoke`: who may call the API."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from sigmafarm.cli.command import Command, Group
from sigmafarm.cli.output import Json, Rows, config_of, farm_of, out, print_json, say, show, time_text
from sigmafarm_common.clock import SystemClock
from sigmafarm_common.errors import FieldError, InvalidRequest
from sigmafarm_common.keys import KeyRecord, Scope

#: The longest name and owner.
MAX_CHARS = 64


def make_app() -> typer.Typer:
    """Return the three commands."""
    app = typer.Typer(cls=Group, help="Make, list and revoke keys of the HTTP API.", no_args_is_help=True)
    app.command(cls=Command, epilog="sigmafarm keys add notebook --scope submit")(add)
    app.command("list", cls=Command, epilog="sigmafarm keys list")(list_keys)
    app.command(cls=Command, epilog="sigmafarm keys revoke k3f9a2c1")(revoke)
    return app


def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A name for people")],
    owner: Annotated[str | None, typer.Option(help="Whose batches it submits and sees; unless said, the name")] = None,
    scope: Annotated[list[Scope] | None, typer.Option(help="May be said again; unless said, submit and read")] = None,
    is_json: Json = False,
) -> None:
    """Make a key and show it, this once: only a hash of it is kept. From the first key on, every request needs one."""
    owner = name if owner is None else owner
    _check(name=name, owner=owner)
    scopes = frozenset(scope or (Scope.SUBMIT, Scope.READ))
    record, text = KeyRecord.make(name=name, owner=owner, scopes=scopes, now_ms=int(1000 * SystemClock().wall_s()))
    farm_of(context).store.add_key(record)
    if is_json:
        print_json({**_key_json(record), "key": text})
        return
    say(f"key {record.id} of {owner}, {_scopes_text(record)}; it is shown this once:")
    out().print(text, soft_wrap=True)


def list_keys(context: typer.Context, is_json: Json = False) -> None:
    """List the keys: everything but their secrets."""
    found = farm_of(context).store.keys()
    if is_json:
        print_json({"keys": [_key_json(record) for record in found]})
        return
    rows = [(k.id, k.name, k.owner, _scopes_text(k), time_text(k.created_ms)) for k in found]
    show(Rows(["key", "name", "owner", "scopes", "made"], rows))
    if not found:
        say(f"there is no key: {config_of(context).http_host} answers everybody on this machine, and nobody else")


def revoke(context: typer.Context, key_id: Annotated[str, typer.Argument(metavar="KEY")]) -> None:
    """End a key at once, with every sign-in by it. KEY is its id, as `keys list` shows it."""
    store = farm_of(context).store
    store.revoke_key(key_id)
    say(f"key {key_id} is revoked")
    if not store.keys():
        say("it was the last: an API on loopback now answers everybody on its machine, any other answers nobody")


def _check(**texts: str) -> None:
    bad = [
        FieldError(name, f"{name} is {text[:80]!r}: must have 1 to {MAX_CHARS} printable characters")
        for name, text in texts.items()
        if not (0 < len(text) <= MAX_CHARS and text.isprintable())
    ]
    if bad:
        raise InvalidRequest(bad)


def _key_json(record: KeyRecord) -> dict[str, Any]:
    said = {"id": record.id, "name": record.name, "owner": record.owner, "created_ms": record.created_ms}
    return {**said, "scopes": sorted(record.scopes)}


def _scopes_text(record: KeyRecord) -> str:
    return ", ".join(sorted(record.scopes))
