"""Hostile input over raw sockets: always a clear 4xx, never a 5xx, and memory stays bounded."""

from __future__ import annotations

import contextlib
import gzip
import json
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.server.running import Server, serving

GOOD = b'{"comment": {"text": "a"}, "requestedAttributes": {"TOXICITY": {}}}'


EVERY = {
    "/v1alpha1/comments:analyze": json.loads(GOOD),
    "/v1alpha1/comments:suggestscore": {
        "comment": {"text": "a"},
        "attributeScores": {"TOXICITY": {"summaryScore": {"value": 1}}},
    },
    "/v1/score": {"comment": {"text": "a"}},
    "/v1/moderations": {"input": "a"},
    "/coral/phase": {"comment": {"body": "a"}},
}
ENGLISH = json.loads(GOOD) | {"languages": ["en"]}


def head(path: str = "/v1alpha1/comments:analyze", *, length: int | None = None, more: str = "") -> bytes:
    size = "" if length is None else f"Content-Length: {length}\r\n"
    return f"POST {path} HTTP/1.1\r\nHost: x\r\n{size}{more}\r\n".encode("latin-1")


CLOSE = "Connection: close\r\n"


def talk(server: Server, *pieces: bytes, pause: float = 0.0, wait: float = 20.0) -> bytes:
    """Send pieces, with a pause after each, and return all that comes back until the server closes or is quiet."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=wait) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(pause)
        except OSError:
            pass  # the server closed early, as it may
        found = b""
        try:
            while piece := connection.recv(65_536):
                found += piece
        except (ConnectionResetError, TimeoutError):
            pass
        return found


def one_answer(connection: socket.socket) -> bytes:
    """Return one answer, head and body, from a connection that stays open."""
    with connection.makefile("rb") as stream:
        lines = [stream.readline()]
        while lines[-1].strip():
            lines.append(stream.readline())
        length = next(int(line.split(b":")[1]) for line in lines if line.lower().startswith(b"content-length:"))
        return b"".join(lines) + stream.read(length)


def status(reply: bytes) -> int:
    assert reply.startswith(b"HTTP/1.1 "), reply[:100]
    return int(reply.split(b" ", 2)[1])


def memory(server: Server) -> int:
    """Return the resident memory in megabytes."""
    fields = Path(f"/proc/{server.process.pid}/statm").read_text().split()
    return int(fields[1]) * 4_096 >> 20


BODIES = {
    "invalid UTF-8": b'{"comment": {"text": "\xff\xfe"}, "requestedAttributes": {"TOXICITY": {}}}',
    "overlong UTF-8": b'{"comment": {"text": "\xc0\xaf"}}',
    "deep lists": b"[" * 1_000_000,
    "deep objects": b'{"a":' * 300_000,
    "deep and closed": b"[" * 200_000 + b"]" * 200_000,
    "deep inside a field": b'{"comment": ' + b'{"text": ' * 100_000 + b"1" + b"}" * 100_001,
    "duplicate keys": b'{"comment": {"text": "a", "text": "b"}, "requestedAttributes": {"TOXICITY": {}}}',
    "NaN": b'{"comment": {"text": "a"}, "requestedAttributes": {"TOXICITY": {"scoreThreshold": NaN}}}',
    "overflow": b'{"comment": {"text": "a"}, "requestedAttributes": {"TOXICITY": {"scoreThreshold": 1e999}}}',
    "infinity": b'{"comment": {"text": "a"}, "requestedAttributes": {"TOXICITY": {"scoreThreshold": -Infinity}}}',
    "long number": b'{"comment": ' + b"9" * 100_000 + b"}",
    "a million lists": b"[" + b"[]," * 1_000_000 + b"1]",
    "a million objects in a text's place": b'{"comment": {"text": [' + b"{}," * 1_000_000 + b"1]}}",
    "NUL bytes": b"\x00" * 1_000,
    "wrong types": b'{"comment": [], "requestedAttributes": 7, "languages": {"a": 1}}',
    "text of another type": b'{"comment": {"text": {"a": 1}}, "requestedAttributes": {"TOXICITY": {}}}',
    "ten thousand attributes": json.dumps(
        {"comment": {"text": "a"}, "requestedAttributes": {f"A{k}": {} for k in range(10_000)}}
    ).encode(),
    "cut short": GOOD[:-2],
    "two documents": GOOD + GOOD,
    "not JSON": b"comment=hello&requestedAttributes=TOXICITY",
    "nothing": b"",
}
ROUTES = [
    "/v1alpha1/comments:analyze",
    "/v1alpha1/comments:suggestscore",
    "/v1/score",
    "/v1/moderations",
    "/coral/phase",
]


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("name", BODIES)
def test_bad_bodies_are_4xx_everywhere(server: Server, path: str, name: str) -> None:
    body = BODIES[name]
    reply = talk(server, head(path, length=len(body), more=CLOSE) + body)
    assert 400 <= status(reply) < 500
    assert b"content-type: application/" in reply
    json.loads(reply.partition(b"\r\n\r\n")[2])


@pytest.mark.parametrize("path", [*ROUTES, "/batch"])
def test_a_declared_flood_is_refused_unread(server: Server, path: str) -> None:
    assert status(talk(server, head(path, length=10**12) + b"x")) == 413


def test_a_chunked_flood_is_refused_and_not_kept(server: Server) -> None:
    before = memory(server)
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    reply = talk(server, head(more="Transfer-Encoding: chunked\r\n"), *[chunk] * 400)
    # The server closes while we still send, so its answer may be lost to the reset; what counts is that it lives.
    assert not reply or status(reply) == 413
    assert server.client.get("/health").status_code == 200
    assert memory(server) - before < 64


@pytest.mark.parametrize(
    "raw",
    [
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: abc\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a TLS greeting
        b"nonsense\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nbad header line\r\n\r\n",
        b"BREW /v1/score HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_broken_http_is_4xx(server: Server, raw: bytes) -> None:
    assert 400 <= status(talk(server, raw)) < 500


def test_header_floods_are_bounded(server: Server) -> None:
    before = memory(server)
    many = "".join(f"X-{k}: y\r\n" for k in range(5_000))
    assert status(talk(server, head(more=many))) == 431
    long = "X-Long: " + "y" * 200_000 + "\r\n"
    assert status(talk(server, head(more=long))) == 431
    assert status(talk(server, head(path="/" + "a" * 100_000))) in (414, 431)
    endless = talk(server, b"GET / HTTP/1.1\r\n", *[b"X-A: " + b"y" * 16_000] * 40)
    assert not endless or status(endless) == 431
    assert memory(server) - before < 32


def test_pipelined_requests_are_no_flood(server: Server) -> None:
    one, last = head(length=len(GOOD)) + GOOD, head(length=len(GOOD), more=CLOSE) + GOOD
    reply = talk(server, one * 49 + last)
    assert reply.count(b"HTTP/1.1 200 OK") == 50


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with short times."""
    with serving(tmp_path_factory.mktemp("impatient"), "--body-timeout", "1", "--head-timeout", "1") as running:
        yield running


def test_slow_bodies_time_out(impatient: Server) -> None:
    pieces = [head(length=1_000), *[b"x"] * 8]
    reply = talk(impatient, *pieces, pause=0.25)
    assert status(reply) == 408
    assert b"connection: close" in reply


def test_slow_heads_time_out(impatient: Server) -> None:
    reply = talk(impatient, b"POST / HTTP/1.1\r\n", *[b"X: y\r\n"] * 8, pause=0.25)
    assert status(reply) == 408


def test_silent_connections_are_closed(impatient: Server) -> None:
    with socket.create_connection(("127.0.0.1", impatient.port), timeout=10) as connection:
        assert connection.recv(100) == b""


def test_many_idle_connections_do_not_lock_others_out(impatient: Server) -> None:
    idle = [socket.create_connection(("127.0.0.1", impatient.port)) for _ in range(300)]
    try:
        assert impatient.client.get("/health").status_code == 200
    finally:
        for connection in idle:
            connection.close()


def test_slow_bodies_do_not_lock_others_out(server: Server) -> None:
    slow = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(300)]
    try:
        for connection in slow:
            connection.sendall(head(length=1_000) + b"half")
        assert server.analyze("a").status_code == 200
        assert server.client.get("/ready").status_code == 200
    finally:
        for connection in slow:
            connection.close()


@pytest.mark.parametrize(
    ("kind", "target", "more", "expected"),
    [
        ("boundary=b", "http://[/v1alpha1/comments:analyze", "", 200),
        ("boundary*=idna''b", "/v1alpha1/comments:analyze", "", 400),
        ("boundary=b", "/v1alpha1/comments:analyze", "a: b\n" * 10_000, 400),
    ],
)
def test_odd_batches_are_no_5xx(server: Server, kind: str, target: str, more: str, expected: int) -> None:
    raw = f"--b\nContent-Type: application/http\n\nPOST {target} HTTP/1.1\n{more}\n{{}}\n--b--\n".encode()
    about = f"POST /batch HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: multipart/mixed; {kind}\r\n"
    reply = talk(server, f"{about}Content-Length: {len(raw)}\r\n\r\n".encode() + raw)
    assert status(reply) == expected


@pytest.mark.parametrize(
    ("path", "more"),
    [
        *((path, more) for path in ROUTES for more in ("", "X-Api-Key: wrong\r\n", "Authorization: Bearer wrong\r\n")),
        ("/batch?key=wrong", "Content-Type: multipart/mixed; boundary=b\r\n"),
    ],
)
def test_without_a_known_key_no_body_is_waited_for(keyed: Server, path: str, more: str) -> None:
    """The answer comes although the body never does."""
    with socket.create_connection(("127.0.0.1", keyed.port), timeout=8) as connection:
        connection.sendall(head(path, length=1_000_000, more=more))
        reply = one_answer(connection)
    google = "comments:" in path or "batch" in path
    assert status(reply) == (400 if google else 401)
    error = json.loads(reply.partition(b"\r\n\r\n")[2])
    if google:
        assert error["error"]["message"] == "API key not valid. Please pass a valid API key."
    else:
        assert "key" in json.dumps(error)


def test_an_unsigned_phase_is_refused_unread(tmp_path: Path) -> None:
    (tmp_path / "secrets").write_text("coral-secret\n")
    with (
        serving(tmp_path, "--coral-secrets", str(tmp_path / "secrets")) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=8) as connection,
    ):
        connection.sendall(head("/coral/phase", length=1_000_000))
        assert status(one_answer(connection)) == 401


def batch_head(length: int) -> bytes:
    return head("/batch", length=length, more="Content-Type: multipart/mixed; boundary=b\r\n")


def test_strangers_hold_no_room_that_is_for_callers_with_a_key(keyed: Server) -> None:
    """A batch carries its keys in its parts: its size is no reason to keep what nobody has answered for."""
    strangers = [socket.create_connection(("127.0.0.1", keyed.port), timeout=8) for _ in range(40)]
    part = b"--b\r\n\r\nPOST /v1alpha1/comments:analyze?key=wrong HTTP/1.1\r\n\r\n"
    try:
        for connection in strangers:
            with contextlib.suppress(OSError):  # refused while we send
                connection.sendall(batch_head(30 << 20) + part + b"x" * (4 << 20))
        assert keyed.analyze("a", key="secret-one", languages=["en"]).status_code == 200
        replies = [one_answer(connection) for connection in strangers]
    finally:
        for connection in strangers:
            connection.close()
    assert {status(reply) for reply in replies} == {400}
    assert all(b"API key not valid" in reply for reply in replies)


@pytest.mark.parametrize("packed", [False, True])
def test_a_large_batch_whose_first_part_has_a_known_key_is_read(keyed: Server, packed: bool) -> None:
    body = ENGLISH | {"sessionId": secrets.token_hex(150_000)}
    part = "--b\nContent-Type: application/http\n\nPOST /v1alpha1/comments:analyze?key=secret-one HTTP/1.1\n\n{}\n"
    raw = (part.format(json.dumps(body)) * 3 + "--b--\n").encode()
    more = f"Content-Type: multipart/mixed; boundary=b\r\n{CLOSE}"
    if packed:
        raw, more = gzip.compress(raw), f"{more}Content-Encoding: gzip\r\n"
    reply = talk(keyed, head("/batch", length=len(raw), more=more) + raw)
    assert status(reply) == 200
    assert reply.count(b"HTTP/1.1 200 OK") == 1 + 3


def test_a_known_key_of_the_whole_batch_is_good_for_its_parts(keyed: Server) -> None:
    part = "--b\nContent-Type: application/http\n\nPOST /v1alpha1/comments:analyze{} HTTP/1.1\n\n{}\n"
    raw = (part.format("", json.dumps(ENGLISH)) + part.format("?key=wrong", json.dumps(ENGLISH)) + "--b--\n").encode()
    more = f"X-Api-Key: secret-one\r\nContent-Type: multipart/mixed; boundary=b\r\n{CLOSE}"
    reply = talk(keyed, head("/batch", length=len(raw), more=more) + raw)
    assert status(reply) == 200
    assert reply.count(b"HTTP/1.1 200 OK") == 1 + 1
    assert reply.count(b"API key not valid") == 1


@pytest.mark.parametrize("path", ROUTES)
def test_gzipped_bodies_are_unpacked_within_bounds(server: Server, path: str) -> None:
    def post(body: bytes, encoding: str = "gzip") -> httpx.Response:
        return server.client.post(path, content=body, headers={"content-encoding": encoding})

    good = gzip.compress(json.dumps(EVERY[path]).encode())
    for encoding in ("gzip", "X-Gzip"):
        assert post(good, encoding).status_code in (200, 204)
    assert post(json.dumps(EVERY[path]).encode(), "identity").status_code in (200, 204)
    for broken in (b"", good[:-9], good + b"x", json.dumps(EVERY[path]).encode()):
        assert post(broken).status_code == 400
        assert "gzip" in post(broken).text
    before = memory(server)
    assert post(gzip.compress(b" " * (200 << 20))).status_code == 413
    assert memory(server) - before < 64
    for encoding in ("br", "gzip, gzip", "deflate"):
        refused = post(good, encoding)
        assert refused.status_code == 415
        assert refused.headers["accept-encoding"] == "gzip"


@pytest.mark.parametrize("offer", ["h2c", "websocket"])
def test_an_offer_to_upgrade_is_passed_over(server: Server, offer: str) -> None:
    """Java's HttpClient makes one with every first request, and sends the body all the same."""
    more = f"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAEAAEAA\r\nUpgrade: {offer}\r\n"
    first = head("/v1/score", length=24, more=more) + b'{"comment":{"text":"a"}}'
    second = head("/v1/score", length=24, more=CLOSE) + b'{"comment":{"text":"a"}}'
    assert talk(server, first, second).count(b"HTTP/1.1 200 OK") == 2
    body_apart = talk(server, first[:-24], first[-24:] + second, pause=0.2)
    assert body_apart.count(b"HTTP/1.1 200 OK") == 2


def answered_meanwhile(server: Server, path: str, body: bytes, **headers: str) -> tuple[int, int]:
    """Return the status of a request, and how many others were answered while it was."""
    statuses: list[int] = []
    with httpx.Client(base_url=server.address, timeout=120) as client:
        thread = threading.Thread(
            target=lambda: statuses.append(client.post(path, content=body, headers=headers).status_code)
        )
        thread.start()
        answered = 0
        while thread.is_alive():
            answered += server.client.get("/health").status_code == 200
    return statuses[0], answered


def test_large_parts_of_a_batch_keep_nobody_waiting(server: Server) -> None:
    """A part of 4 MB takes some time to read as JSON: meanwhile others are answered, again and again."""
    part = b"--b\r\nA: b\r\n\r\nPOST /v1alpha1/comments:analyze HTTP/1.1\r\n\r\n[" + b"1.5," * 1_000_000 + b"1]\r\n"
    headers = {"content-type": "multipart/mixed; boundary=b"}
    status, answered = answered_meanwhile(server, "/batch", part * 4 + b"--b--\r\n", **headers)
    assert status == 200
    assert answered > 10 * 4


@pytest.mark.parametrize("piece", [b"[],", b"{},", b'"a",', b'"abcde",', b'{"a":""},'])
def test_bodies_of_next_to_nothing_are_refused_before_they_are_parsed(server: Server, piece: bytes) -> None:
    refused = server.client.post("/v1/score", content=b"[" + piece * 2_000_000 + b"1]")
    assert refused.status_code == 400
    assert "brackets and quotes" in refused.json()["detail"]


def test_brackets_and_quotes_in_texts_are_no_lists(server: Server) -> None:
    body = {"comments": [{"text": '[[{{ "smile", "said" he }}]] ' * 20}] * 1_000}
    assert server.client.post("/v1/score", json=body).status_code == 200


def test_clients_that_leave_are_no_error(server: Server) -> None:
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(head(length=1_000) + b"half")
    assert server.client.get("/health").status_code == 200


def test_texts_made_to_cost_much_stay_cheap(server: Server) -> None:
    texts = [
        "a. " * 6_800,
        "!" * 20_000,
        "\u0300" * 10_000,
        "k i l l " * 2_500,
        "*" * 20_000,
        "." * 20_000,
        "((((" * 5_000,
    ]
    for text in texts:
        begin = time.perf_counter()
        body = {"comment": {"text": text}, "requestedAttributes": {"TOXICITY": {}}, "spanAnnotations": True}
        answer = server.client.post("/v1alpha1/comments:analyze", json=body | {"languages": ["en"]})
        assert answer.status_code == 200
        assert time.perf_counter() - begin < 5  # a bound against hanging, not a measure of speed


def test_memory_stays_bounded_over_many_requests(server: Server) -> None:
    def round_() -> None:
        for k in range(300):
            server.analyze(f"comment {k} {'word' * (k % 50)} {k * 7919}", clientToken=str(k))

    round_()
    before = memory(server)
    for _ in range(3):
        round_()
    assert memory(server) - before < 16


def test_nothing_of_it_reached_the_log(server: Server) -> None:
    server.analyze("a most secret sentence", key="my-secret-key")
    server.client.post("/v1/score", content=b'{"comment": {"text": 5, "a most secret sentence": 1}}')
    log = server.logged()
    assert "secret" not in log
    assert "Traceback" not in log
