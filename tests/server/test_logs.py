"""Log lines: written in bundles, each of them once, in their order, also at the end."""

from __future__ import annotations

import json
import logging
import logging.config
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from select import PIPE_BUF

import pytest
import requests

from moderation.server.logs import Bundled, JsonFormatter, Request, TextFormatter
from tests.server.running import serving

SCORE = {"comment": {"text": "A fine day."}}


@pytest.fixture
def bundled() -> Bundled:
    handler = Bundled()
    handler.setFormatter(TextFormatter())
    return handler


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_no_request_is_missing_from_the_log_at_the_end(tmp_path: Path, workers: str, sign: signal.Signals) -> None:
    with serving(tmp_path, "--workers", workers, "--log-format", "json") as server:
        with ThreadPoolExecutor(4) as pool:
            url = f"{server.address}/v1/score"
            answers = list(pool.map(lambda _: requests.post(url, json=SCORE, timeout=60), range(200)))
        assert server.stop(sign) == 0
    assert [answer.status_code for answer in answers] == [200] * 200
    lines = [record for record in server.records() if record["event"] == "request" and record["route"] == "score"]
    assert [line["status"] for line in lines] == [200] * 200


def test_lines_of_many_threads_come_once_each(bundled: Bundled, capsys: pytest.CaptureFixture[str]) -> None:
    bundled.PATIENCE, bundled.MOST = 0.001, 50  # type: ignore[misc]

    def add(thread: int) -> None:
        for number in range(2_000):
            bundled.request(Request(0.0, f"t{thread}-{number}", "GET", 200, 0.0, None))

    threads = [threading.Thread(target=add, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    bundled.flush()
    lines = capsys.readouterr().err.splitlines()
    routes = [re.search(r"route=(\S+)", line).group(1) for line in lines]  # type: ignore[union-attr]
    assert Counter(routes) == Counter(f"t{thread}-{number}" for thread in range(4) for number in range(2_000))
    for thread in range(4):
        numbers = [int(route.split("-")[1]) for route in routes if route.startswith(f"t{thread}-")]
        assert numbers == sorted(numbers)


def test_a_line_comes_without_waiting_for_another(bundled: Bundled, monkeypatch: pytest.MonkeyPatch) -> None:
    class Waited:
        """Standard error whose lines can be waited for."""

        def __init__(self) -> None:
            self.said, self.some = "", threading.Event()

        def write(self, text: str) -> None:
            self.said += text
            self.some.set()

        def flush(self) -> None:
            pass

    stderr = Waited()
    monkeypatch.setattr("sys.stderr", stderr)
    for number in range(20):
        stderr.some.clear()
        bundled.request(Request(0.0, f"r{number}", "GET", 200, 0.0, None))
        assert stderr.some.wait(60)
        assert f"route=r{number} " in stderr.said


def test_a_warning_is_written_at_once_and_in_its_place(bundled: Bundled, capsys: pytest.CaptureFixture[str]) -> None:
    bundled.PATIENCE = 3_600  # type: ignore[misc]
    bundled.request(Request(1.25, "score", "POST", 200, 0.0123, "gazette"))
    bundled.handle(logging.makeLogRecord({"name": "x", "levelno": 30, "levelname": "WARNING", "msg": "look", "a": 1}))
    first, second = capsys.readouterr().err.splitlines()
    words = "1970-01-01T00:00:01.250+00:00 info    request route=score method=POST status=200 ms=12.3 caller=gazette"
    assert first == words
    assert second.endswith(" warning look a=1")


def test_no_line_of_one_worker_is_cut_by_another(bundled: Bundled, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers share a pipe, which keeps a write together up to a length: so it gets whole lines up to that length."""
    written: list[str] = []

    class Pipe:
        def write(self, text: str) -> None:
            written.append(text)

        def flush(self) -> None:
            written.append("")

    bundled.PATIENCE = 3_600  # type: ignore[misc]
    monkeypatch.setattr(sys, "stderr", Pipe())
    for number in range(1_000):
        bundled.request(Request(0.0, f"r{number}", "GET", 200, 0.0, "ü" * (number % 300)))
    bundled.request(Request(0.0, "long", "GET", 200, 0.0, "x" * 10_000))
    bundled.flush()
    texts, flushes = written[::2], written[1::2]
    assert set(flushes) == {""}  # each by itself
    assert all(text.endswith("\n") for text in texts)
    assert all(len(text.encode()) <= PIPE_BUF for text in texts if "long" not in text)
    assert "".join(texts).count("route=") == 1_001
    assert len(texts) < 250


def test_lines_without_a_place_to_go_are_no_error(bundled: Bundled, monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        def write(self, _: str) -> None:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Gone())
    bundled.request(Request(0.0, "score", "POST", 200, 0.0, None))
    bundled.flush()


def test_json_lines_hold_whatever_comes() -> None:
    record = logging.makeLogRecord({"msg": "odd", "half": "\ud83d", "path": Path("/x"), "created": 1e9 + 0.5})
    line = json.loads(JsonFormatter().format(record))
    assert (line["half"], line["path"]) == ("\ud83d", "/x")
    assert datetime.fromisoformat(line["time"]) == datetime.fromtimestamp(1e9 + 0.5, UTC)


def test_an_application_around_it_gets_records_of_its_own_logging() -> None:
    program = """
import logging
handler = logging.StreamHandler()
handler.setFormatter(logging.Formatter("%(name)s %(message)s %(route)s %(status)s"))
logging.getLogger("moderation.access").addHandler(handler)
logging.getLogger("moderation").setLevel("INFO")
from starlette.testclient import TestClient
from moderation import Policy, Scorer
from moderation.server import create_app
with TestClient(create_app(Scorer.load(), Policy.load())) as client:
    client.post("/v1/score", json={"comment": {"text": "a"}})
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == "moderation.access request score 200\n"
