"""What an operator relies on: readiness, metrics over workers, logs without texts, restarts, overload, an orderly end."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.server.running import COMMAND, Server, serving, wait_until_ready

SCORE = {"comment": {"text": "You pathetic little liar."}}


def samples(server: Server) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return all samples by name and labels, read as Prometheus reads them."""
    response = server.client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(response.text)
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def count(server: Server, name: str, **labels: str) -> float:
    return samples(server).get((name, tuple(sorted(labels.items()))), 0.0)


def test_health_and_readiness(server: Server) -> None:
    assert server.client.get("/health").text == "ok"
    ready = server.client.get("/ready").json()
    assert ready["ready"] is True
    assert ready["model"].startswith("en-")


def test_metrics_count_requests_times_and_scores(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        for _ in range(3):
            server.client.post("/v1/score", json=SCORE)
        server.client.post("/v1/score", content=b"{")
        server.analyze("A fine day.", spanAnnotations=True)
        found = samples(server)
        text = server.client.get("/metrics").text
    assert found["moderation_requests_total", (("route", "score"), ("status", "200"))] == 3
    assert found["moderation_requests_total", (("route", "score"), ("status", "400"))] == 1
    assert found["moderation_request_seconds_count", (("route", "score"),)] == 4
    assert found["moderation_request_seconds_sum", (("route", "score"),)] > 0
    assert found["moderation_comments_total", (("route", "analyze"),)] == 1
    assert found["moderation_verdicts_total", (("action", "hold"),)] == 3
    for label in ("abuse", "incitement"):
        assert found["moderation_scores_count", (("label", label),)] == 4
    assert found["moderation_scores_bucket", (("label", "abuse"), ("le", "+Inf"))] == 4
    assert found["moderation_scores_bucket", (("label", "abuse"), ("le", "0.5"))] == 1
    assert "pathetic" not in text


def test_metrics_are_named_by_prometheus_conventions(server: Server) -> None:
    families = list(text_string_to_metric_families(server.client.get("/metrics").text))
    assert len({family.name for family in families}) == len(families)
    for family in families:
        assert re.fullmatch(r"moderation_[a-z_]+", family.name)
        assert family.documentation.endswith(".")
        names = {sample.name for sample in family.samples}
        if family.type == "counter":
            assert names <= {f"{family.name}_total"}
        elif family.type == "histogram":
            assert names == {f"{family.name}_{part}" for part in ("bucket", "count", "sum")}
            assert {sample.labels["le"] for sample in family.samples if "le" in sample.labels} >= {"+Inf"}
        else:
            assert (family.type, family.name[-5:]) == ("gauge", "_info")
            assert [sample.value for sample in family.samples] == [1]


def test_the_log_names_who_has_used_up_a_rate(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("slow-secret herald 1/s\n")
    with serving(tmp_path, "--api-keys", str(tmp_path / "keys"), "--log-format", "json") as server:
        for _ in range(6):
            server.analyze("a", key="slow-secret")
        server.stop()
    seen = [record for record in server.records() if record.get("event") == "request" and record["route"] == "analyze"]
    assert 429 in {record["status"] for record in seen}
    assert {record["caller"] for record in seen} == {"herald"}


def test_logs_hold_no_text_and_no_key(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("top-secret gazette\n")
    with serving(tmp_path, "--api-keys", str(tmp_path / "keys"), "--log-format", "json") as server:
        server.analyze("a private sentence", key="top-secret")
        server.analyze("a private sentence", key="wrong-secret")
        server.client.get("/a private sentence?key=top-secret")
        server.client.post("/v1/score", content=b'{"a private sentence')
        server.stop()
    log = server.logged()
    for secret in ("private", "sentence", "secret"):
        assert secret not in log
    seen = [record for record in server.records() if record.get("event") == "request" and record["route"] == "analyze"]
    assert [record["status"] for record in seen] == [200, 400]
    assert seen[0]["caller"] == "gazette"
    assert set(seen[0]) == {"time", "level", "event", "route", "method", "status", "ms", "caller"}
    assert len(server.records()) == len(log.splitlines())


def test_an_access_log_is_a_choice(tmp_path: Path) -> None:
    with serving(tmp_path, "--no-access-log") as server:
        server.analyze("a")
        assert "route=analyze" not in server.logged()


def wait_for_log(server: Server, words: str, *, times: int = 1) -> None:
    deadline = time.monotonic() + 60
    while server.logged().count(words) < times:
        assert time.monotonic() < deadline, server.logged()
        time.sleep(0.05)


def worker_pids(server: Server) -> list[int]:
    """Return the processes that answer, found by their parent."""
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    lines = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children}
    return sorted(pid for pid, line in lines.items() if b"spawn_main" in line)


def test_counts_are_added_up_over_workers(tmp_path: Path) -> None:
    with serving(tmp_path, "--workers", "2", "--no-access-log") as server:
        for _ in range(60):  # every call a connection of its own, so that both workers get some
            requests.post(f"{server.address}/v1/score", json=SCORE, timeout=60)
        time.sleep(0.5)  # a request is counted after its answer
        assert [count(server, "moderation_requests_total", route="score", status="200") for _ in range(5)] == [60] * 5
        assert count(server, "moderation_scores_count", label="abuse") == 60


def test_killed_workers_come_back_and_counts_stay(tmp_path: Path) -> None:
    with serving(tmp_path, "--workers", "2", "--no-access-log") as server:
        before = worker_pids(server)
        assert len(before) == 2
        for _ in range(20):
            requests.post(f"{server.address}/v1/score", json=SCORE, timeout=60)
        deadline = time.monotonic() + 90
        while count(server, "moderation_requests_total", route="score", status="200") < 20:  # counted after the answer
            assert time.monotonic() < deadline
        os.kill(before[0], signal.SIGKILL)
        while len(set(worker_pids(server)) - set(before)) < 1:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        for pid in set(worker_pids(server)) & set(before):
            os.kill(pid, signal.SIGKILL)
        server.client.close()
        server.client = httpx.Client(base_url=server.address, timeout=60)
        time.sleep(1)
        wait_until_ready(server)
        assert count(server, "moderation_requests_total", route="score", status="200") == 20
        assert server.stop() == 0


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGHUP])
def test_a_server_of_one_process_ends_in_order(tmp_path: Path, sign: signal.Signals) -> None:
    """A hangup, too: the terminal is gone, and what was begun is still answered."""
    with serving(tmp_path) as server, socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        body = json.dumps(SCORE).encode()
        connection.sendall(f"POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode())
        time.sleep(0.3)
        server.process.send_signal(sign)
        time.sleep(0.3)
        connection.sendall(body)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200 OK")
        assert server.process.wait(20) == 0
        assert ("--workers" in server.logged()) == (sign == signal.SIGHUP)
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", server.port), timeout=1)


def health(connection: socket.socket) -> bytes:
    """Read one answer of ``/health``, which may come in pieces."""
    answer = b""
    while not answer.endswith(b"\r\n\r\nok") and (piece := connection.recv(65_536)):
        answer += piece
    return answer


@pytest.mark.parametrize("asked_before", [False, True])
def test_a_request_that_was_on_its_way_at_the_end_is_answered(tmp_path: Path, asked_before: bool) -> None:
    """On a connection that is open already, new or kept alive, with its first bytes sent or not; and silence is closed."""
    with serving(tmp_path) as server, contextlib.ExitStack() as stack:
        address = ("127.0.0.1", server.port)
        asking, halfway, silent = (stack.enter_context(socket.create_connection(address, 20)) for _ in range(3))
        if asked_before:
            for connection in (asking, halfway, silent):
                connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
                assert health(connection).startswith(b"HTTP/1.1 200 OK")
        halfway.sendall(b"GET /health HTTP")
        time.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.4)
        asking.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        halfway.sendall(b"/1.1\r\nHost: x\r\n\r\n")
        for connection in (asking, halfway):
            answer = health(connection)
            assert answer.startswith(b"HTTP/1.1 200 OK")
            assert b"connection: close" in answer
        assert silent.recv(1) == b""
        assert server.process.wait(20) == 0


def test_a_server_that_was_told_to_outlive_its_terminal_does(tmp_path: Path) -> None:
    """As `nohup` tells it: with the signal ignored from the start."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with serving(tmp_path) as server:
            server.process.send_signal(signal.SIGHUP)
            time.sleep(0.5)
            assert server.client.get("/health").status_code == 200
            assert server.stop() == 0
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_interrupt_ends_it(tmp_path: Path, workers: str) -> None:
    with serving(tmp_path, "--workers", workers) as server:
        assert server.stop(signal.SIGINT) == 0
        assert "Traceback" not in server.logged()


def test_overload_is_refused_at_once(tmp_path: Path) -> None:
    """With room for 4, forty callers at a time get either an answer or 503 with a time to try again."""
    body = json.dumps({"comment": {"text": "word " * 700}})
    found: Counter[int] = Counter()
    retry: set[str | None] = set()
    lock = threading.Lock()

    def caller(port: int, start: threading.Barrier) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        start.wait()
        for _ in range(10):
            connection.request("POST", "/v1/score", body)
            response = connection.getresponse()
            response.read()
            with lock:
                found[response.status] += 1
                if response.status == 503:
                    retry.add(response.headers["retry-after"])
        connection.close()

    with serving(tmp_path, "--max-waiting", "4", "--no-access-log") as server:
        start = threading.Barrier(40)
        threads = [threading.Thread(target=caller, args=(server.port, start)) for _ in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(found) == {200, 503}
        assert found.total() == 400
        assert retry == {"1"}
        assert server.client.post("/v1/score", json=SCORE).status_code == 200
        assert count(server, "moderation_requests_total", route="score", status="503") == found[503]


def run(*options: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, "serve", *options], capture_output=True, text=True, timeout=60, **more)


def test_mistakes_end_in_one_sentence(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    for workers, option in (("1", "--api-keys"), ("2", "--coral-secrets"), ("2", "--policy"), ("1", "--score-map")):
        done = run("--port", "0", "--workers", workers, option, missing)
        assert done.returncode == 2, done.stderr
        assert done.stderr.startswith("error: ")
        assert len(done.stderr.splitlines()) == 1
    assert run("--port", "0", "--bundle", missing).returncode == 3
    assert run("--feedback-text").returncode == 2
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        done = run("--port", str(taken.getsockname()[1]))
        assert done.returncode == 2
        assert re.match(r"error: --host, --port: cannot listen on 127\.0\.0\.1, port \d+: ", done.stderr)


def test_another_models_map_is_warned_of(tmp_path: Path, small_bundle: Any) -> None:
    from moderation.bundle import save_bundle

    save_bundle(small_bundle, tmp_path / "bundle")
    with serving(tmp_path, "--bundle", str(tmp_path / "bundle")) as server:
        assert "fitted for another model" in server.logged()
        assert server.client.get("/v1/model").json()["perspective_map"]["fits"] is False
        # A model without a head for an attribute does not know the attribute.
        assert "Unknown requested attribute: PROFANITY" in server.analyze("a", "PROFANITY").text
        assert server.analyze("a", "THREAT").status_code == 200
    with serving(tmp_path, "--bundle", str(tmp_path / "bundle"), "--raw-scores") as server:
        assert "fitted for another model" not in server.logged()


def test_an_open_address_without_keys_is_warned_of(tmp_path: Path) -> None:
    with serving(tmp_path, "--host", "0.0.0.0") as server:
        assert "may be reached from other machines" in server.logged()


def test_without_the_extra_the_command_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "starlette.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'starlette'\", name='starlette')\n"
    )
    done = run("--port", "0", env=os.environ | {"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 4
    assert done.stderr == "error: the server needs starlette: pip install -e '.[server]' in a clone\n"


def test_a_hangup_brings_in_a_new_policy_without_a_gap(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('id = "old"\n[thresholds.abuse]\nreview = 0.5\n')
    with serving(tmp_path, "--workers", "2", "--policy", str(policy)) as server:
        policy.write_text('id = "new"\n[thresholds.abuse]\nreview = 0.5\n')
        server.process.send_signal(signal.SIGHUP)
        found: list[str] = []
        deadline = time.monotonic() + 90
        while found[-20:] != ["new"] * 20:
            assert time.monotonic() < deadline
            found.append(requests.get(f"{server.address}/ready", timeout=60).json()["policy"])
            time.sleep(0.02)
        assert set(found) <= {"old", "new"}


def test_a_worker_that_starts_later_takes_what_was_accepted(tmp_path: Path) -> None:
    """And not what its files hold by then: all workers go by one policy and know the same keys."""
    policy, keys = tmp_path / "policy.toml", tmp_path / "keys"
    policy.write_text('id = "old"\n[thresholds.abuse]\nreview = 0.5\n')
    keys.write_text("secret-one gazette\n")
    with serving(tmp_path, "--workers", "2", "--policy", str(policy), "--api-keys", str(keys)) as server:
        wait_for_log(server, "startup complete", times=2)
        before = worker_pids(server)
        policy.write_text("nonsense")
        keys.unlink()
        os.kill(before[0], signal.SIGKILL)
        wait_for_log(server, "startup complete", times=3)
        assert len(worker_pids(server)) == 2
        found = {requests.get(f"{server.address}/ready", timeout=60).json()["policy"] for _ in range(40)}
        asked = [requests.post(f"{server.address}/v1/score?key=secret-one", json=SCORE, timeout=60) for _ in range(20)]
        assert found == {"old"}
        assert {answer.status_code for answer in asked} == {200}
        assert "Traceback" not in server.logged()


def test_nobody_is_kept_waiting_by_a_server_that_ends(tmp_path: Path) -> None:
    """Once no worker takes connections, they are refused, and not taken to be dropped at the end."""
    with serving(tmp_path, "--workers", "2") as server, socket.create_connection(("127.0.0.1", server.port)) as busy:
        wait_for_log(server, "startup complete", times=2)
        body = json.dumps(SCORE).encode()
        busy.sendall(f"POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode())
        time.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(2)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port), timeout=5)
        busy.sendall(body)
        assert busy.recv(65_536).startswith(b"HTTP/1.1 200 OK")
        assert server.process.wait(20) == 0


def test_a_hangup_survives_the_loss_of_the_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    policy = tmp_path / "policy.toml"
    policy.write_text('id = "old"\n[thresholds.abuse]\nreview = 0.5\n')
    with serving(tmp_path, "--workers", "2", "--policy", str(policy)) as server:
        wait_for_log(server, "startup complete", times=2)
        [folder] = {path.parent for path in temporary.glob("moderation-*/accepted-*")}
        shutil.rmtree(temporary)  # and it cannot be made anew
        server.process.send_signal(signal.SIGHUP)
        wait_for_log(server, "not reloaded")
        temporary.mkdir()
        policy.write_text('id = "new"\n[thresholds.abuse]\nreview = 0.5\n')
        server.process.send_signal(signal.SIGHUP)
        wait_for_log(server, "startup complete", times=4)
        assert folder.is_dir()
        until = time.monotonic() + 30  # a worker that ends still answers for a while
        while requests.get(f"{server.address}/ready", timeout=60).json()["policy"] != "new":
            assert time.monotonic() < until
            time.sleep(0.1)
        assert server.process.poll() is None


def test_a_hangup_with_a_broken_policy_changes_nothing(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('id = "old"\n[thresholds.abuse]\nreview = 0.5\n')
    with serving(tmp_path, "--workers", "2", "--policy", str(policy)) as server:
        wait_for_log(server, "startup complete", times=2)  # both have read the policy
        before = worker_pids(server)
        policy.write_text('id = "new"\n[thresholds.abuse]\nreview = 5\n')
        server.process.send_signal(signal.SIGHUP)
        wait_for_log(server, "not reloaded")
        assert requests.get(f"{server.address}/ready", timeout=60).json()["policy"] == "old"
        assert worker_pids(server) == before
        assert f"{policy}" in server.logged()
        assert "Traceback" not in server.logged()
