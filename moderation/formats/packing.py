"""Open what is packed with gzip or zstd, and pack what is written."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from moderation.errors import InputError, MissingExtra

HEAD = 1 << 17
"""Bytes that can be looked at ahead, to tell what a stream holds."""

PACKED = (".gz", ".zst")
"""Endings of packed files."""

_NOT_PACKED = (".bz2", ".xz", ".zip", ".7z")
"""Endings of packed files that are not written."""

_PIECE = 1 << 10
"""Bytes of zstd that are unpacked at once: a hostile kilobyte unpacks to 32 MB at most."""


class _Ungzipped(gzip.GzipFile):
    """A gzip stream that closes what it reads from."""

    def __init__(self, packed: io.BufferedReader) -> None:
        super().__init__(fileobj=packed)
        self._packed = packed

    def close(self) -> None:
        super().close()
        self._packed.close()


class _Damaged(EOFError):
    """A damaged zstd stream."""


class _Unzstd(io.RawIOBase):
    """A zstd stream of one frame or more, unpacked as it is read."""

    def __init__(self, packed: io.BufferedReader) -> None:
        self._new, self._error = _unpacker()
        self._packed = packed
        self._frame: Any = None
        self._rest = self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready and (piece := self._rest or self._packed.read(_PIECE)):
            self._rest = b""
            self._frame = self._frame or self._new()
            try:
                self._ready = self._frame.decompress(piece)
            except self._error as error:
                raise _Damaged("not readable as zstd") from error
            if self._frame.eof:
                self._rest, self._frame = self._frame.unused_data, None
        if not self._ready and self._frame is not None:
            raise _Damaged("it ends too early")
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def close(self) -> None:
        super().close()
        self._packed.close()


def _unpacker() -> tuple[Any, type[Exception]]:
    try:
        from compression import zstd  # type: ignore[import-not-found, unused-ignore]  # Python 3.14 and later
    except ImportError:
        zstandard = _zstandard()
        return (lambda: zstandard.ZstdDecompressor().decompressobj()), zstandard.ZstdError
    return zstd.ZstdDecompressor, zstd.ZstdError


def _zstandard() -> Any:
    try:
        import zstandard
    except ImportError as error:
        raise MissingExtra("zstd files need a library: pip install -e '.[zstd]' in a clone") from error
    return zstandard


def open_plain(stream: BinaryIO) -> io.BufferedReader:
    """Return a buffered reader of a stream, unpacked when it begins with the magic number of gzip or zstd.

    Its ``peek`` shows up to `HEAD` bytes, and closing it closes the stream.
    """
    buffered: io.BufferedReader = io.BufferedReader(cast(io.RawIOBase, stream), HEAD)
    magic = buffered.peek(4)[:4]
    if magic[:2] == b"\x1f\x8b":
        return io.BufferedReader(cast(io.RawIOBase, _Ungzipped(buffered)), HEAD)
    if magic == b"\x28\xb5\x2f\xfd":
        return io.BufferedReader(_Unzstd(buffered), HEAD)
    return buffered


def is_packed(stream: io.BufferedReader) -> bool:
    """Say whether what `open_plain` returned is being unpacked."""
    return isinstance(stream.raw, gzip.GzipFile | _Unzstd)


def require(path: Path) -> None:
    """Raise `InputError` when files of this ending are not written, and `MissingExtra` when they cannot be here."""
    ending = path.suffix.lower()
    if ending in _NOT_PACKED:
        raise InputError(f"{path}: {ending} cannot be written; files are packed as {' or '.join(PACKED)}")
    pack(b"", ending)


def pack(data: bytes, ending: str) -> bytes:
    """Return data as one whole gzip member or zstd frame, as the ending of a name says, else as it is.

    Members and frames can be joined: the whole of several is what they hold, one after another.
    """
    if ending == ".gz":
        return gzip.compress(data, 6, mtime=0)
    if ending == ".zst":
        try:
            from compression import zstd  # type: ignore[import-not-found, unused-ignore]
        except ImportError:
            return bytes(_zstandard().compress(data))
        return bytes(zstd.compress(data))
    return data


@contextmanager
def packing_writer(out: IO[bytes], ending: str) -> Iterator[IO[bytes]]:
    """Give a file that packs what is written to `out`, as the ending of a name says, else `out` itself."""
    if ending == ".gz":
        with gzip.GzipFile(filename="", fileobj=out, mode="wb", mtime=0) as packed:
            yield cast(IO[bytes], packed)
    elif ending == ".zst":
        pieces = _Packing(out)
        yield cast(IO[bytes], pieces)
        pieces.flush()
    else:
        yield out


class _Packing(io.BufferedWriter):
    """Writes each full buffer as a zstd frame."""

    def __init__(self, out: IO[bytes]) -> None:
        super().__init__(_Frames(out), 1 << 20)


class _Frames(io.RawIOBase):
    def __init__(self, out: IO[bytes]) -> None:
        self._out = out

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._out.write(pack(bytes(data), ".zst"))
        return len(data)


@contextmanager
def readable(name: str) -> Iterator[None]:
    """Turn what goes wrong while a stream is read into an `InputError` that names the stream."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        kind = "zstd" if isinstance(error, _Damaged) else "gzip"
        raise InputError(f"{name}: damaged {kind} stream: {error}") from error
    except OSError as error:
        raise InputError(f"{name}: cannot be read: {error.strerror or error}") from error
