"""Score whole archives: inputs cut into chunks, scored in one process or several, in order, in bounded memory."""

from __future__ import annotations

import io
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path

from moderation.batch import Chunk, ChunkScorer, Request, Scored
from moderation.errors import ModerationError
from moderation.formats.packing import pack
from moderation.formats.rows import (
    HEAD,
    Fields,
    Format,
    Row,
    read_blocks,
    read_rows,
    readable,
    refuse_utf_16,
    too_long,
)
from moderation.policy import Policy
from moderation.scorer import Scorer, batches

ALONE = 4
"""Chunks up to which an input is scored without starting other processes, when their number is left to us."""

AHEAD = 2
"""Chunks for each process that are read before the first of them is written."""


class WorkerLost(ModerationError):
    """A process that scored was killed from outside, for example because memory ran short."""


@dataclass(frozen=True, slots=True)
class Setup:
    """All that a process needs to score chunks; can be sent to one."""

    bundle: Path | None
    """Folder of the model; None: the shipped one."""
    policy: Policy
    request: Request
    packing: str = ""
    """Ending of the output's name when each chunk is to be packed: ``.gz``, ``.zst`` or none."""

    def scorer(self, scorer: Scorer | None = None) -> ChunkScorer:
        """Return what scores chunks, with `scorer` when the model has been loaded already."""
        return ChunkScorer(scorer or Scorer.load(self.bundle), self.policy, self.request)


def read_chunks(stream: io.BufferedReader, form: Format, fields: Fields, name: str) -> Iterator[Chunk]:
    """Cut an input into chunks; where the cuts fall depends on its content alone.

    Raises `InputError` when the input as a whole cannot be read.
    """
    if form not in ("jsonl", "lines"):
        for rows in batches(read_rows(stream, form, fields, name=name), _length):
            yield Chunk(name, form, rows[0].line, rows)
        return
    with readable(name):
        refuse_utf_16(name, form, stream.peek(HEAD))
        for line, block in read_blocks(stream):
            if block is None:
                yield Chunk(name, form, line, [too_long(line)])
            else:
                yield Chunk(name, form, line, block)


def _length(row: Row) -> int:
    return len(row.comment.text) if row.comment else 0


def score_chunks(
    chunks: Iterable[Chunk], setup: Setup, *, jobs: int | None = None, scorer: Scorer | None = None
) -> Iterator[Scored]:
    """Score chunks in their order, reading only a few ahead of what is taken.

    Parameters
    ----------
    jobs : processes that score; None: one for each processor, but none beside this one for a small input
    scorer : the model, when it has been loaded already
    """
    stream = iter(chunks)
    here = setup.scorer(scorer)
    first: list[Chunk] = []
    if jobs is None:
        first = list(islice(stream, ALONE + 1))
        jobs = usable_processors() if len(first) > ALONE else 1
    stream = chain(first, stream)
    if jobs == 1:
        for chunk in stream:
            yield _score(here, setup, chunk)
    else:
        yield from _score_apart(stream, setup, jobs)


def usable_processors() -> int:
    """Return how many processors this process may use."""
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _score(scorer: ChunkScorer, setup: Setup, chunk: Chunk) -> Scored:
    scored = scorer.score(chunk)
    lines = pack(scored.lines, setup.packing)
    return replace(scored, lines=lines, read=chunk.checksum(), written=zlib.crc32(lines))


def _score_apart(chunks: Iterable[Chunk], setup: Setup, jobs: int) -> Iterator[Scored]:
    from concurrent.futures import Future, ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    pool = ProcessPoolExecutor(jobs, get_context("spawn"), _begin, (setup,))
    waiting: deque[Future[Scored]] = deque()
    try:
        for chunk in chunks:
            with _interrupts_later():
                waiting.append(pool.submit(_work, chunk))
            if len(waiting) > AHEAD * jobs:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise WorkerLost("a scoring process was killed; is memory short? Fewer --jobs need less") from error
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _interrupts_later() -> Iterator[None]:
    """Keep an interrupt back while processes begin, and from them: before `_begin` each would tell of it."""
    import signal
    import threading
    from multiprocessing import resource_tracker

    if not hasattr(signal, "pthread_sigmask") or threading.current_thread() is not threading.main_thread():
        yield  # on Windows; and another thread is never interrupted
        return
    came: list[int] = []
    resource_tracker.ensure_running()  # its own start would end what we begin here
    handler = signal.signal(signal.SIGINT, lambda sign, _: came.append(sign))  # other threads may still take it
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # which the processes inherit
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, handler or signal.SIG_DFL)
        if came:
            signal.raise_signal(signal.SIGINT)


_here: tuple[ChunkScorer, Setup] | None = None
"""In a scoring process: what `_begin` left for `_work`."""


def _begin(setup: Setup) -> None:
    """Prepare a scoring process: load the model, leave interrupts to the parent, end when the parent does."""
    import signal
    import threading

    global _here
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _here = (setup.scorer(), setup)


def _end_with_parent() -> None:
    """Wait for the parent's end; a parent that was killed cannot tell its children to stop."""
    import os
    from multiprocessing import connection, parent_process

    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _work(chunk: Chunk) -> Scored:
    assert _here is not None
    return _score(_here[0], _here[1], chunk)
