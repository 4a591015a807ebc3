"""What a run has written so far, beside the file that it is for, and how far it came.

``out.jsonl.partial`` grows chunk by chunk, and ``out.jsonl.partial.journal`` gets a line for each: the checksum of
what was read, and size and checksum of what was written. A run that goes on believes the journal as far as the partial
file bears it out, reads the same chunks again without scoring them, cuts off what was written later, and continues: no
row is lost and none comes twice, whatever moment the earlier run was killed at. The file appears when all is done.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, Self

from moderation.batch import Chunk, Scored, Totals
from moderation.errors import InputError, ModerationError
from moderation.output import umask, writing

try:
    import fcntl
except ImportError:  # not on Windows, where runs cannot tell that they write the same file
    fcntl = None  # type: ignore[assignment]


class Partial:
    """The partial file of one run.

    Parameters
    ----------
    target : the file that appears when all is done
    about : all that decides what is written; a run can only be continued with the same
    resume : go on with what an earlier run left, when it left anything; else begin anew

    Raises
    ------
    InputError
        when the folder cannot be written to, another run is writing this file, or `about` is not that of the earlier
        run
    """

    def __init__(self, target: Path, about: Mapping[str, Any], *, resume: bool = False) -> None:
        self.target = target.resolve()
        self.path = self.target.with_name(f"{self.target.name}.partial")
        self.journal = self.target.with_name(f"{self.target.name}.partial.journal")
        self.totals = Totals()
        """What happened so far, in an earlier run too."""
        self._resumed = resume and self.path.exists()
        self._done: list[dict[str, Any]] = []
        with writing(self.target):
            self._open(json.loads(json.dumps(about)))

    def _open(self, about: dict[str, Any]) -> None:
        if not self.target.parent.is_dir():
            raise InputError(f"{self.target.parent}: no such folder")
        if self.target.is_dir():
            raise InputError(f"{self.target}: is a folder; expected the name of a file")
        self._file: IO[bytes] = _locked(self.path)
        try:
            self._resumed = self._resumed and self.journal.exists()
            if self._resumed:
                self._done = self._read_journal(about)
            self._begin_journal(about)
        except BaseException:
            self._file.close()
            raise
        for note in self._done:
            self.totals.add(Totals(**note["totals"]))
        size = sum(note["size"] for note in self._done)
        self._file.truncate(size)
        self._file.seek(size)
        self._notes = self.journal.open("a", encoding="utf-8")

    def _read_journal(self, about: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the notes of the journal, as far as the partial file bears them out."""
        first, *lines = self.journal.read_text(encoding="utf-8", errors="replace").split("\n")[:-1] or [""]
        if _parsed(first).get("about") != about:
            raise self._other("the interrupted run had other options, inputs or another model")
        notes = []
        for line in lines:
            note = _note(line)
            data = self._file.read(note["size"]) if note else b""
            if note is None or len(data) != note["size"] or zlib.crc32(data) != note["written"]:
                break
            notes.append(note)
        return notes

    def _begin_journal(self, about: dict[str, Any]) -> None:
        """Write the journal anew, without what the partial file does not bear out."""
        new = self.journal.with_name(f"{self.journal.name}.new")
        new.write_text("".join(json.dumps(line) + "\n" for line in [{"about": about}, *self._done]), encoding="utf-8")
        os.replace(new, self.journal)

    def _written(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close; after a mistake that was found at once nothing stays behind, else a run can go on from here."""
        if kind is not None and issubclass(kind, ModerationError) and not self._resumed and not self._written():
            self.discard()
        self._close()

    def remaining(self, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
        """Pass on the chunks that are still to be scored; raise `InputError` when the others are not as they were."""
        for note in list(self._done):
            chunk = next(chunks, None)
            if chunk is None:
                raise self._other("the input is shorter than in the interrupted run")
            if chunk.checksum() != note["read"]:
                raise self._other("the input has changed since the interrupted run")
        yield from chunks

    def add(self, scored: Scored) -> None:
        """Write the next chunk's lines, then note them."""
        note = {"read": scored.read, "size": len(scored.lines), "written": scored.written}
        with writing(self.target):
            self._file.write(scored.lines)
            self._file.flush()
            self.totals.add(scored.totals)
            self._notes.write(json.dumps(note | {"totals": asdict(scored.totals)}) + "\n")
            self._notes.flush()

    def reader(self) -> IO[bytes]:
        """Return the partial file from its beginning, for an output that is made of the whole."""
        self._file.seek(0)
        return self._file

    def publish(self, *, empty: bytes = b"") -> None:
        """Let the partial file become the target; `empty` is what stands in it when nothing was written."""
        with writing(self.target):
            if not self._written():
                self._file.write(empty)
                self._file.flush()
            os.fsync(self._file.fileno())
            mode = self.target.stat().st_mode if self.target.exists() else 0o666 & ~umask()
            os.chmod(self.path, mode)
            with self._last():
                os.replace(self.path, self.target)

    def discard(self) -> None:
        """Remove the partial file, for the target has been written from it or will not be."""
        with self._last():
            self.path.unlink(missing_ok=True)

    @contextmanager
    def _last(self) -> Iterator[None]:
        """Keep the lock while the partial file leaves its name, so that no other run writes what is being published."""
        if fcntl is None:  # Windows moves and removes no open file; it has no lock to keep either
            self._close()
        yield
        self._forget_journal()
        self._close()

    def _forget_journal(self) -> None:
        """Remove the journal, unless a run that began after ours left its name has put its own there."""
        with suppress(OSError):
            if self._notes.closed or os.path.samestat(os.fstat(self._notes.fileno()), os.stat(self.journal)):
                self.journal.unlink()

    def _close(self) -> None:
        # What `add` could not write is tried once more here, and was told there.
        for file in (self._file, self._notes):
            with suppress(OSError):
                file.close()

    def _other(self, why: str) -> InputError:
        return InputError(f"{self.path}: cannot go on: {why}. Without --resume the run begins anew")


def _parsed(line: str) -> dict[str, Any]:
    try:
        data = json.loads(line)
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


def _note(line: str) -> dict[str, Any] | None:
    """Return what `Partial.add` noted, or None for a line that is damaged."""
    note = _parsed(line)
    counts = [note.get(name) for name in ("read", "size", "written")]
    whole = all(type(count) is int and count >= 0 for count in counts)
    return note if whole and isinstance(note.get("totals"), dict) else None


def _locked(path: Path) -> IO[bytes]:
    """Open a file that no other run is writing, where the system can tell; make it when it is not there."""
    while True:
        file = open(os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666), "r+b")  # noqa: SIM115
        if fcntl is None:
            return file
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise InputError(f"{path}: another run is writing it") from None
        # A run that ended between our two steps gave the file its last name: what we opened is no longer partial.
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
        file.close()
