"""The command line. It holds no logic that the library lacks, and imports what is heavy only when needed.

Each module beside this one holds the commands of one room of the house as plain functions; they are given their names
here.
"""

from __future__ import annotations

import sys
from typing import NoReturn

import typer

from moderation.cli import queueing, scoring, serving
from moderation.errors import ModerationError

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


@app.callback()
def together() -> None:
    # A callback keeps the name of a command in front when `narrow` leaves only one.
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
    sys.exit(0)
