"""The command line. It holds no logic that the library lacks, and imports what is heavy only when needed.

Each module beside this one holds the commands of one room of the house as plain functions; they are given their names
here.
"""

from __future__ import annotations

import sys
from typing import NoReturn

import typer

from moderation.cli import scoring, serving
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


def main() -> NoReturn:
    """Run the command line; an error of ours becomes one sentence and its exit code."""
    try:
        app()
    except ModerationError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    sys.exit(0)
