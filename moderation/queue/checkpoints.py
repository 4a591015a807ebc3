"""Writing SQLite's log back into its file, in a thread of its own, so that no moderator's decision waits for it.

SQLite by itself does it in the commit that makes the log long, about one in a hundred, and that commit takes as long as
the disk likes. A passive checkpoint waits for nobody and holds nobody up; what it leaves, the next one does.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from moderation.errors import StoreError

PAUSE = 0.5
"""Seconds from the first commit after a checkpoint to the next checkpoint."""

logger = logging.getLogger("moderation.queue")


class Checkpoints:
    """Runs `checkpoint` soon after commits, never twice at once."""

    def __init__(self, checkpoint: Callable[[], object]) -> None:
        self._checkpoint = checkpoint
        self._wanted, self._over = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def wrote(self) -> None:
        """Note that something was committed."""
        self._wanted.set()
        if self._thread is None:
            with self._lock:
                if self._thread is None and not self._over.is_set():
                    self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
                    self._thread.start()

    def close(self) -> None:
        """End the thread; what is left in the log, SQLite writes back when the last connection closes."""
        self._over.set()
        self._wanted.set()
        with self._lock:
            if self._thread is not None:
                self._thread.join()

    def _run(self) -> None:
        while self._wanted.wait() and not self._over.wait(PAUSE):
            self._wanted.clear()
            if self._over.is_set():  # `close` may have set both just before the line above, and nobody sets them again
                return
            try:
                self._checkpoint()
            except StoreError as error:
                logger.warning("the log could not be written back: %s", error)
            except Exception as error:  # the thread must not end, and words that are not ours may be a comment's
                logger.error("the log could not be written back: %s", type(error).__name__)
