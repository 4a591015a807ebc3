"""The thread that writes SQLite's log back ends whenever it is told to."""

from __future__ import annotations

import threading
import time

import pytest

from moderation.queue import checkpoints


def test_it_ends_also_when_it_is_about_to_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "PAUSE", 0.0005)
    for turn in range(600):
        found = checkpoints.Checkpoints(lambda: None)
        found.wrote()
        time.sleep(0.0003 + turn * 1e-6)  # about when the pause is over
        end = threading.Thread(target=found.close, daemon=True)
        end.start()
        end.join(30)
        assert not end.is_alive(), f"turn {turn}"
