"""The thread that writes SQLite's log back goes on whatever happens, and ends whenever it is told to."""

from __future__ import annotations

import threading

import pytest

from moderation.errors import InputError, StoreUnavailable
from moderation.queue import checkpoints
from moderation.queue.checkpoints import Checkpoints


class Missed(threading.Event):
    """An event that is set in the very moment in which somebody who waited for it gives up."""

    def wait(self, timeout: float | None = None) -> bool:
        found = super().wait(timeout)
        self.set()
        return found


def test_it_ends_also_when_it_is_about_to_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "PAUSE", 0.01)
    found = Checkpoints(lambda: None)
    found._over = Missed()  # as `close` sets it, here after the pause and before the thread begins
    found.wrote()
    assert found._thread is not None
    found._thread.join(30)
    assert not found._thread.is_alive()


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (StoreUnavailable("queue.db: busy; try again"), "queue.db: busy; try again"),
        (InputError("text 19 you clown"), "InputError"),
        (KeyError("text 19 you clown"), "KeyError"),
    ],
)
def test_it_goes_on_after_an_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception, told: str
) -> None:
    monkeypatch.setattr(checkpoints, "PAUSE", 0.001)
    done = threading.Semaphore(0)
    errors = iter([error])

    def checkpoint() -> None:
        done.release()
        for some in errors:
            raise some

    found = Checkpoints(checkpoint)
    for _ in range(2):
        found.wrote()
        assert done.acquire(timeout=30)
    found.close()
    assert [record.getMessage() for record in caplog.records] == [f"the log could not be written back: {told}"]
