"""Measure the server under load with wrk on loopback: ``python -m tests.benchmarks.serve [--seconds 10] [--soak 60]``.

Prints requests per second of one worker and of two, latency at 500 requests per second, memory over an hour's worth of
requests in a shorter time, what a killed worker costs, and what overload looks like. wrk shares the machine's cores with
the server, so next to each rate stands the processor time that the server itself took per request, and the rate of a
server that reads the same requests and answers the same number of bytes without any work.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT
from tests.server.running import Server, serving

PATH = "/v1alpha1/comments:analyze?key=k"
COMMENTS = 500
HOUR = 3_600 * 500
"""Requests of an hour at 500 a second."""

BARE = """
async def app(scope, receive, send):
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-type", b"application/json"), (b"content-length", b"300")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"x" * 300})
"""

SCRIPT = """
local bodies = {}
for line in io.lines("%s") do bodies[#bodies + 1] = line end
local place = 0
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
function request()
  place = place %% #bodies + 1
  return wrk.format(nil, nil, nil, bodies[place])
end
%s
function done(summary, latency, requests)
  io.write(string.format("RESULT %%d %%d %%f %%f %%f %%d %%d\\n", summary.requests, summary.duration,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency.max / 1000,
    summary.errors.status, summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout))
end
"""


@dataclass
class Load:
    """What wrk saw."""

    rate: float
    """Requests per second."""
    p50: float
    p99: float
    most: float
    """Latency in milliseconds."""
    refused: int
    """Answers with a status of 400 or more."""
    failed: int
    """Requests without an answer."""
    requests: int
    cpu: float
    """Microseconds of processor time that the server took per request."""

    def __str__(self) -> str:
        text = f"{self.rate:8,.0f} requests/s, p50 {self.p50:.2f} ms, p99 {self.p99:.2f} ms, max {self.most:.0f} ms"
        text += f", {self.cpu:.0f} us of processor time each" if self.cpu else ""
        return text + (
            f", {self.refused:,} refused, {self.failed:,} without answer" if self.refused or self.failed else ""
        )


def bodies(folder: Path) -> Path:
    """Write requests with comments of our own, one a line; a fixed choice over all cases."""
    texts = []
    for path in sorted((ROOT / "datasets" / "authored").glob("*.jsonl")):
        lines = path.read_text(encoding="utf-8").splitlines()
        texts += [json.loads(line)["text"] for line in lines[:: max(1, len(lines) // 6)]]
    chosen = texts[:: max(1, len(texts) // COMMENTS)][:COMMENTS]
    fields = {"requestedAttributes": {"TOXICITY": {}}, "languages": ["en"], "doNotStore": True}
    path = folder / "bodies.jsonl"
    path.write_text("".join(json.dumps({"comment": {"text": text}} | fields) + "\n" for text in chosen))
    return path


def processes(pid: int) -> list[int]:
    """Return a process and all below it."""
    found = [pid]
    for parent in found:
        found += map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split())
    return found


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a server and its workers."""
    total = 0
    for one in processes(pid):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> float:
    """Return the resident megabytes of a server and its workers."""
    pages = sum(int(Path(f"/proc/{one}/statm").read_text().split()[1]) for one in processes(pid))
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def load(
    address: str, file: Path, *, seconds: float, connections: int = 16, pause: float = 0, pid: int | None = None
) -> Load:
    """Run wrk; with `pause` (milliseconds) every connection waits that long before its next request."""
    script = file.with_name(f"{threading.get_ident()}.lua")
    script.write_text(SCRIPT % (file, f"function delay() return {pause} end" if pause else ""))
    before = cpu_seconds(pid) if pid else 0.0
    line = ["wrk", "-t1", f"-c{connections}", f"-d{int(seconds)}s", "-s", str(script), address + PATH]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    spent = cpu_seconds(pid) - before if pid else 0.0
    found = re.search(r"RESULT (.*)", done.stdout)
    assert found, done.stdout
    requests, microseconds, p50, p99, most, refused, failed = map(float, found[1].split())
    each = spent / max(requests, 1) * 1e6
    return Load(requests / microseconds * 1e6, p50, p99, most, int(refused), int(failed), int(requests), each)


@contextmanager
def server(*options: str, log: bool = True) -> Iterator[Server]:
    """Start a server as it comes, with a line in its log for each request, or without these lines."""
    quiet = () if log else ("--no-access-log",)
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder), "--no-queue", *quiet, *options) as running:
        yield running


@contextmanager
def bare(folder: Path) -> Iterator[str]:
    """Start a server that does nothing."""
    (folder / "bare.py").write_text(BARE)
    line = [sys.executable, "-m", "uvicorn", "bare:app", "--port", "8097", "--log-level", "error", "--lifespan", "off"]
    process = subprocess.Popen(line, cwd=folder)
    try:
        time.sleep(1.5)
        yield "http://127.0.0.1:8097"
    finally:
        process.terminate()
        process.wait()


def say(what: str, value: object) -> None:
    print(f"{what:<34}{value}", flush=True)


def start_up() -> None:
    def once(*options: str) -> float:
        begin = time.perf_counter()
        with server(*options):
            return time.perf_counter() - begin

    say("ready after", f"{min(once() for _ in range(3)):.2f} s; two workers {once('--workers', '2'):.2f} s")


def rates(file: Path, seconds: float) -> None:
    with bare(file.parent) as address:
        say("a server that does nothing", load(address, file, seconds=seconds))
    with server() as one:
        load(one.address, file, seconds=1)
        first = load(one.address, file, seconds=seconds, pid=one.process.pid)
        say("one worker", first)
        slow = load(one.address, file, seconds=seconds, connections=10, pause=19, pid=one.process.pid)
        say("one worker at 500 requests/s", slow)
    with server(log=False) as silent:
        load(silent.address, file, seconds=1)
        say("one worker, no access log", load(silent.address, file, seconds=seconds, pid=silent.process.pid))
    with server("--workers", "2") as two:
        load(two.address, file, seconds=1, connections=32)
        second = load(two.address, file, seconds=seconds, connections=32, pid=two.process.pid)
        say("two workers", second)
    scaled = 2 * first.cpu / second.cpu
    text = f"{second.rate / first.rate:.2f} times beside wrk on {os.cpu_count()} cores"
    say("two workers to one", f"{text}; {scaled:.2f} times by processor time, as with cores of their own")


def soak(file: Path, seconds: float) -> None:
    with server() as one:
        load(one.address, file, seconds=3)
        before, done, steps = memory(one.process.pid), 0, []
        for _ in range(5):
            done += load(one.address, file, seconds=max(1, seconds / 5)).requests
            steps.append(f"{memory(one.process.pid):.1f}")
        hour = f"{done / HOUR:.2f} hours of 500 requests/s"
        say("memory", f"{before:.1f} MB, then {', '.join(steps)} MB after {done:,} requests, {hour}")


def killed(file: Path) -> None:
    with server("--workers", "2") as two:
        workers = [
            pid for pid in processes(two.process.pid)[1:] if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
        found: list[Load] = []
        thread = threading.Thread(target=lambda: found.append(load(two.address, file, seconds=8)))
        thread.start()
        time.sleep(2)
        os.kill(workers[0], signal.SIGKILL)
        begin = time.perf_counter()
        while len(set(processes(two.process.pid)) - set(workers)) < 3:  # supervisor, resource tracker, new worker
            time.sleep(0.01)
        back = time.perf_counter() - begin
        thread.join()
        say("a worker killed under load", f"{found[0]}; started anew after {back:.2f} s")


def overload(file: Path, seconds: float) -> None:
    for connections in (64, 512):
        with server("--max-waiting", "64") as one:
            found = load(one.address, file, seconds=seconds, connections=connections, pid=one.process.pid)
        share = found.refused / max(found.requests, 1)
        say(f"{connections} callers, room for 64", f"{found}; {share:.0%} refused")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10, help="length of each measurement")
    parser.add_argument(
        "--soak", type=float, default=60, help="length of the one for memory; 300 is about an hour's worth"
    )
    given = parser.parse_args(arguments)
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed: apt-get install wrk")
    with tempfile.TemporaryDirectory() as folder:
        file = bodies(Path(folder))
        start_up()
        rates(file, given.seconds)
        overload(file, min(given.seconds, 5))
        killed(file)
        soak(file, given.soak)


if __name__ == "__main__":
    main()
