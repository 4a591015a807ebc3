"""Try the places that a command writes to before its work is done, which may take hours."""

from __future__ import annotations

import tempfile
from pathlib import Path

from moderation.errors import InputError


def make_folder(name: str, path: Path) -> None:
    """Make a folder with its parents; raise `InputError`, calling it `name`, unless files can be written into it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        raise InputError(f"{name}: expected a folder that can be written to, got {path}: {error.strerror}") from error


def check_file(name: str, path: Path) -> None:
    """Raise `InputError`, calling it `name`, unless a file can be written at `path`; what is there stays as it is."""
    try:
        if path.exists():
            path.open("ab").close()
        else:
            tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise InputError(f"{name}: expected a file that can be written, got {path}: {error.strerror}") from error
