"""The file that a run writes before its output appears, when two runs want it at the same moment."""

from __future__ import annotations

import fcntl
import os
import zlib
from pathlib import Path
from typing import Any

import pytest

from moderation.batch import Scored, Totals
from moderation.errors import InputError
from moderation.partial import Partial

LINE = b'{"id": 1}\n'


def scored(count: int) -> Scored:
    lines = LINE * count
    return Scored(lines, (), Totals(), 1, zlib.crc32(lines))


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_being_published_is_still_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, rename, refused = tmp_path / "out.jsonl", os.replace, []

    def begin_another_run(source: Any, to: Any) -> None:
        if Path(to) == target:
            with pytest.raises(InputError, match="another run is writing it"):
                Partial(target, {})
            refused.append(to)
        rename(source, to)

    with Partial(target, {}) as partial:
        partial.add(scored(1))
        monkeypatch.setattr(os, "replace", begin_another_run)
        partial.publish()
    assert refused
    assert target.read_bytes() == LINE
    assert files(tmp_path) == ["out.jsonl"]


@pytest.mark.parametrize("ending", ["publish", "discard"])
def test_a_file_that_lost_its_name_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    """The first run ends after the second has opened its file, and before the second has locked it."""
    target, lock = tmp_path / "out.jsonl", fcntl.flock
    first = Partial(target, {})
    first.add(scored(2))

    def end_the_first_run(file: Any, how: int) -> None:
        monkeypatch.undo()
        getattr(first, ending)()
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", end_the_first_run)
    with Partial(target, {}) as second:
        second.add(scored(3))
        if ending == "publish":
            assert target.read_bytes() == LINE * 2
        second.publish()
    assert target.read_bytes() == LINE * 3
    assert files(tmp_path) == ["out.jsonl"]


def test_a_link_and_what_it_points_to_are_one_file(tmp_path: Path) -> None:
    target, link = tmp_path / "real.jsonl", tmp_path / "elsewhere" / "link.jsonl"
    link.parent.mkdir()
    link.symlink_to(target)
    for first, second in ((target, link), (link, target)):
        with Partial(first, {}) as partial:
            partial.add(scored(1))
            with pytest.raises(InputError, match="real.jsonl.partial: another run is writing it"):
                Partial(second, {})
            partial.publish()
        assert target.read_bytes() == LINE
        assert files(tmp_path) == ["elsewhere", "real.jsonl"]
        assert link.is_symlink()
    # a run that wrote through the link goes on under the other name
    with Partial(link, {}) as partial:
        partial.add(scored(2))
    with Partial(target, {}, resume=True) as partial:
        assert partial.reader().read() == LINE * 2
