"""Suggested scores: kept only where the operator asks for it, a text only with two permissions."""

from __future__ import annotations

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from moderation.server.feedback import Feedback
from tests.server.running import serving

TEXT = "You pathetic little liar."


def suggest(address: str, value: float = 1, **more: Any) -> None:
    body = {"comment": {"text": TEXT}, "attributeScores": {"INSULT": {"summaryScore": {"value": value}}}} | more
    requests.post(f"{address}/v1alpha1/comments:suggestscore?key=k", json=body, timeout=60).raise_for_status()


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_without_the_option_nothing_is_kept(tmp_path: Path) -> None:
    with serving(tmp_path, "--no-queue") as server:
        suggest(server.address)
        assert 'event="feedback_dropped"} 1.0' in server.client.get("/metrics").text
        assert "pathetic" not in server.logged()
    assert [path.name for path in tmp_path.iterdir()] == ["server.log"]


def test_a_hash_is_kept_and_no_text(tmp_path: Path) -> None:
    path = tmp_path / "feedback.jsonl"
    with serving(tmp_path, "--feedback", str(path)) as server:
        suggest(server.address, doNotStore=False)
        suggest(server.address, doNotStore=True)
    first, second = lines(path)
    assert first["labels"] == {"insult": 1}
    assert first["text_hash"] == second["text_hash"]
    assert "pathetic" not in path.read_text()
    for file in (path, tmp_path / "feedback.jsonl.key"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_text_is_kept_with_both_permissions(tmp_path: Path) -> None:
    path = tmp_path / "feedback.jsonl"
    with serving(tmp_path, "--feedback", str(path), "--feedback-text") as server:
        suggest(server.address, doNotStore=False)
        suggest(server.address, doNotStore=True)
        suggest(server.address, do_not_store=True)  # Google's JSON takes the original names too
        suggest(server.address)  # not said is allowed, as at Google and as Coral sends it
    assert [line.get("text") for line in lines(path)] == [TEXT, None, None, TEXT]


def test_several_workers_write_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "feedback.jsonl"
    options = ("--feedback", str(path), "--feedback-text", "--workers", "2")
    with serving(tmp_path, *options) as server, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda k: suggest(server.address, k % 2, clientToken=f"c-{k}"), range(100)))
    found = lines(path)
    assert sorted(line["client_token"] for line in found) == sorted(f"c-{k}" for k in range(100))
    assert len({line["text_hash"] for line in found}) == 1


def test_the_hash_hangs_on_the_key(tmp_path: Path) -> None:
    one = Feedback(tmp_path / "a.jsonl", keep_text=False, model_id="m")
    other = Feedback(tmp_path / "b.jsonl", keep_text=False, model_id="m")
    again = Feedback(tmp_path / "a.jsonl", keep_text=False, model_id="m")
    assert one.hash(TEXT) == again.hash(TEXT) != other.hash(TEXT)
    assert one.hash("\ud800") != one.hash("\ud801")


def test_a_short_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.key").write_bytes(b"short")
    with pytest.raises(ValueError, match="at least 32 bytes, got 5"):
        Feedback(tmp_path / "a.jsonl", keep_text=False, model_id="m")
