"""The command line. It holds no logic that the library lacks, and imports what is heavy only when needed.

Each module beside this one holds the commands of one room of the house as plain functions; they are given their names
here.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated, NoReturn

import typer

from moderation.cli import queueing, scoring, serving
from moderation.errors import InputError, ModerationError

app = typer.Typer(
    name="moderation",
    help="Find reader comments that incite violence or abuse people. The model advises; a person decides.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
)
for command in (scoring.score, scoring.extract, scoring.explain, scoring.model, serving.serve):
    app.command()(command)
app.add_typer(queueing.queue, name="queue")
app.add_typer(queueing.users, name="users")


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"moderation {version('moderation')}")
        raise typer.Exit


# Also: a callback keeps the name of a command in front when `narrow` leaves only one.
@app.callback()
def together(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def narrow(name: str) -> None:
    """Leave only the command or group of that name, if there is one: making all of them takes longer than scoring."""
    commands = [one for one in app.registered_commands if one.callback and one.callback.__name__ == name]
    groups = [one for one in app.registered_groups if one.name == name]
    if commands or groups:
        app.registered_commands, app.registered_groups = commands, groups


def main() -> NoReturn:
    """Run the command line; an error of ours becomes one sentence and its exit code."""
    narrow(sys.argv[1] if len(sys.argv) > 1 else "")
    try:
        app()
    except ModerationError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        _end_unheard(error)
    sys.exit(0)


def _end_unheard(error: OSError) -> NoReturn:
    """End when what a command prints cannot be written: its reader went away (`| head`), or the disk is full."""
    if error.filename is not None or sys.stdout is None:
        raise error
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still in the buffer is not tried again
    if isinstance(error, BrokenPipeError):
        sys.exit(141)
    typer.echo(f"error: standard output: cannot be written: {error.strerror}", err=True)
    sys.exit(InputError.exit_code)
