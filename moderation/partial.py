"""What a run has written so far, beside the file that it is for, and how far it came.

``out.jsonl.partial`` grows chunk by chunk; ``out.jsonl.partial.journal`` says, about once a second and after the data
are safely on the disk, how many chunks and bytes are done, with a checksum of the input up to there. A run that goes
on reads the input again up to that place without scoring it, cuts off what was written later, and continues: no row is
lost and none comes twice, whatever moment the earlier run was killed at. The file appears only when all is done.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Self

from moderation.archive import checksum
from moderation.batch import Chunk, Scored, Totals
from moderation.errors import InputError
from moderation.output import umask

SECONDS = 1.0
"""How much work a kill can cost."""


@dataclass(slots=True)
class Progress:
    """How far a run has come."""

    chunks: int = 0
    """Chunks of the input that are done."""
    size: int = 0
    """Bytes of the partial file that hold them."""
    checksum: int = 0
    """CRC-32 of these chunks' input."""
    totals: Totals = field(default_factory=Totals)
    """What happened in them."""


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
        self.path = self.target.with_name(f"{target.name}.partial")
        self.journal = self.target.with_name(f"{target.name}.partial.journal")
        self.progress = Progress()
        """How far this run has come, with what an earlier one left."""
        self._about = dict(about)
        self._checksums: dict[int, int] = {}
        self._left = self._read_journal() if resume else None
        self._open()

    def _open(self) -> None:
        if not self.target.parent.is_dir():
            raise InputError(f"{self.target.parent}: no such folder")
        if self.target.is_dir():
            raise InputError(f"{self.target}: is a folder; expected the name of a file")
        try:
            self._file: IO[bytes] = open(self.path, "r+b" if self.path.exists() else "w+b")  # noqa: SIM115
            _lock(self._file, self.path)
            if self._left is not None:
                self.progress = self._left
            self._file.truncate(self.progress.size)
            self._file.seek(self.progress.size)
            self._begin_journal()
            self._notes = self.journal.open("a", encoding="utf-8")
        except OSError as error:
            raise InputError(f"{self.target}: cannot be written: {error.strerror}") from error
        self._noted = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close; after an error of the user's nothing stays behind, after any other a run can go on from here."""
        if kind is None:
            return
        if issubclass(kind, InputError) and self._left is None:
            self._close()
            self.path.unlink(missing_ok=True)
            self.journal.unlink(missing_ok=True)
        else:
            self._note()
            self._close()

    def remaining(self, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
        """Pass on the chunks that are still to be scored; raise `InputError` when the others are not as they were."""
        left, seen, done = self._left, 0, self.progress.checksum if self._left is None else 0
        for seen, chunk in enumerate(chunks, 1):
            done = checksum(chunk, done)
            if left is None or seen > left.chunks:
                self._checksums[seen] = done
                yield chunk
            elif seen == left.chunks and done != left.checksum:
                raise self._other("the input has changed since the interrupted run")
        if left is not None and seen < left.chunks:
            raise self._other("the input is shorter than in the interrupted run")

    def add(self, scored: Scored) -> None:
        """Write the next chunk's lines."""
        self._file.write(scored.lines)
        self.progress.chunks += 1
        self.progress.size += len(scored.lines)
        self.progress.checksum = self._checksums.pop(self.progress.chunks)
        self.progress.totals.add(scored.totals)
        if time.monotonic() - self._noted >= SECONDS:
            self._note()

    def reader(self) -> IO[bytes]:
        """Return the partial file from its beginning, for an output that is made of the whole."""
        self._file.flush()
        self._file.seek(0)
        return self._file

    def publish(self) -> None:
        """Let the partial file become the target."""
        self._file.flush()
        os.fsync(self._file.fileno())
        mode = self.target.stat().st_mode if self.target.exists() else 0o666 & ~umask()
        self._close()
        os.chmod(self.path, mode)
        os.replace(self.path, self.target)
        self.journal.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove the partial file, when the target has been written from it."""
        self._close()
        self.path.unlink(missing_ok=True)
        self.journal.unlink(missing_ok=True)

    def _note(self) -> None:
        """Write down how far the run has come, once that is on the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._notes.write(json.dumps(asdict(self.progress)) + "\n")
        self._notes.flush()
        self._noted = time.monotonic()

    def _begin_journal(self) -> None:
        """Write the journal anew, for the last line of an earlier one may be torn."""
        lines = [{"about": self._about}, asdict(self.progress)]
        new = self.journal.with_name(f"{self.journal.name}.new")
        new.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        os.replace(new, self.journal)

    def _close(self) -> None:
        self._file.close()
        self._notes.close()

    def _read_journal(self) -> Progress | None:
        """Return what the last whole line of the journal says, as far as the partial file bears it out."""
        if not self.path.exists() or not self.journal.exists():
            return None
        size, found = self.path.stat().st_size, None
        about, *notes = self.journal.read_text(encoding="utf-8", errors="replace").split("\n")[:-1] or [""]
        if _parsed(about).get("about") != json.loads(json.dumps(self._about)):
            raise self._other("the interrupted run had other options, inputs or another model")
        for line in notes:
            note = _parsed(line)
            if note and note["size"] <= size:
                found = Progress(**note | {"totals": Totals(**note["totals"])})
        return found

    def _other(self, why: str) -> InputError:
        return InputError(f"{self.path}: cannot go on: {why}. Without --resume the run begins anew")


def _parsed(line: str) -> dict[str, Any]:
    try:
        data = json.loads(line)
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


def _lock(file: IO[bytes], path: Path) -> None:
    """Refuse a file that another run is writing, where the system can tell."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise InputError(f"{path}: another run is writing it") from None
