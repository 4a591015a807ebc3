"""A real server process, started by `moderation serve` as an operator starts it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

COMMAND = Path(sys.executable).parent / "moderation"


@dataclass
class Server:
    """A running server: where it is, and what it logged."""

    process: subprocess.Popen[str]
    log: Path
    address: str
    client: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = httpx.Client(base_url=self.address, timeout=60)

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def analyze(self, text: str, *attributes: str, key: str = "k", **fields: Any) -> httpx.Response:
        """Call comments:analyze as Perspective's documentation does."""
        requested = {name: {} for name in attributes or ("TOXICITY",)}
        body = {"comment": {"text": text}, "requestedAttributes": requested} | fields
        return self.client.post("/v1alpha1/comments:analyze", params={"key": key}, json=body)

    def logged(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def records(self) -> list[dict[str, Any]]:
        """Return the log of a server that writes JSON."""
        return [json.loads(line) for line in self.logged().splitlines() if line.startswith("{")]

    def stop(self, sign: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(sign)
        return self.process.wait(30)


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[Server]:
    """Start a server on a free port, with the options given, and stop it at the end."""
    log = folder / "server.log"
    environment = os.environ | {
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "error",
        "MODERATION_DATABASE": str(folder / "queue.db"),
    }
    with log.open("w") as errors:
        process = subprocess.Popen(
            [COMMAND, "serve", "--port", "0", *options],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment,
        )
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found, log.read_text()
        server = Server(process, log, found.group())
        try:
            wait_until_ready(server)
            yield server
        finally:
            server.client.close()
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        assert process.stdout is not None
        process.stdout.close()


def wait_until_ready(server: Server, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if server.client.get("/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline and server.process.poll() is None, server.logged()
        time.sleep(0.05)
