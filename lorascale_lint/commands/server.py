"""`server`: findings and repairs in an editor."""

from __future__ import annotations

from typing import NoReturn

import click

from lorascale_lint.commands.options import examples


@click.command(
    "server",
    short_help="Run the language server for editors.",
    epilog=examples("pip install 'lorascale-lint[server]'", "lorascale-lint server"),
)
def command() -> NoReturn:
    """Speak the language server protocol over standard input and output.

    An editor starts it; docs/editors.md says how. It needs pygls (the `server` extra).
    """
    from lorascale_lint.errors import InputError

    try:
        from lorascale_lint.server.app import start
    except ModuleNotFoundError as error:
        if error.name not in ("pygls", "lsprotocol"):
            raise
        raise InputError("the server needs pygls: pip install 'lorascale-lint[server]'") from error
    start()
    raise SystemExit(0)  # standard output is closed: nobody may write to it any more
