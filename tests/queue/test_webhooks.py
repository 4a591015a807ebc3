"""Events arrive signed, in order, and once with effect."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from sqlalchemy import Connection, update
from standardwebhooks.webhooks import Webhook as Receiver

from moderation.errors import InputError, NotFound, StoreForeign, StoreUnavailable
from moderation.queue import Ruling, Store
from moderation.queue.schema import webhooks
from moderation.queue.webhooks import Delivered, Webhooks, sign, wait_after
from tests.queue.conftest import PLAIN, Clock, furnish, incoming
from tests.server.running import serving

REJECT = Ruling("reject", reason="ABUSE", note="for colleagues only")


class Hook:
    """A receiver on loopback that keeps what it gets and answers as it is told."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.paths: list[str] = []
        self.status = 204
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                hook.paths.append(self.path)
                hook.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(hook.status)
                if hook.status == 302:
                    self.send_header("Location", hook.url + "elsewhere")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"

    def events(self) -> list[dict[str, object]]:
        return [json.loads(body) for _, body in self.got]


@pytest.fixture
def hook() -> Iterator[Hook]:
    """A receiver that runs."""
    hook = Hook()
    thread = threading.Thread(target=hook.server.serve_forever, args=(0.02,))
    thread.start()
    yield hook
    hook.server.shutdown()
    thread.join()
    hook.server.server_close()


@pytest.fixture
def silent() -> Iterator[tuple[str, list[socket.socket]]]:
    """The address of a receiver that takes every connection and never answers, and its connections."""
    listener, held = socket.create_server(("127.0.0.1", 0)), []

    def accept() -> None:
        with suppress(OSError):
            while True:
                held.append(listener.accept()[0])

    threading.Thread(target=accept, daemon=True).start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/", held
    listener.shutdown(socket.SHUT_RDWR)
    for one in (listener, *held):
        one.close()


def decide(store: Store, ruling: Ruling = REJECT) -> int:
    [item] = store.desk.claim("ada")
    return store.desk.decide("ada", item.ref, ruling).past.ref


def test_a_receiver_with_the_standard_library_accepts_it(filled: Store, hook: Hook, clock: Clock) -> None:
    clock.time = datetime.now(UTC)  # receivers refuse events that are minutes old
    secret, _ = filled.webhooks.add(hook.url)
    decide(filled)
    assert filled.webhooks.deliver().sent == 1
    [(headers, body)] = hook.got
    event = Receiver(secret).verify(body, headers)
    assert event["type"] == "decision.made"
    data = event["data"]
    assert (data["site"], data["comment_id"], data["act"], data["state"]) == ("gazette", "c19", "reject", "rejected")
    assert (data["reason"], data["ground"], data["automation"]) == ("ABUSE", "incompatible", "none")
    assert b"clown" not in body
    assert b"colleagues" not in body


def test_a_new_secret_and_the_old_one_both_fit(filled: Store, hook: Hook, clock: Clock) -> None:
    clock.time = datetime.now(UTC)
    old, webhook = filled.webhooks.add(hook.url)
    new = filled.webhooks.rotate(webhook.ref)
    decide(filled)
    filled.webhooks.deliver()
    [(headers, body)] = hook.got
    for secret in (old, new):
        Receiver(secret).verify(body, headers)


def test_what_fails_is_tried_again_later_under_the_same_id(filled: Store, hook: Hook, clock: Clock) -> None:
    filled.webhooks.add(hook.url)
    decide(filled)
    hook.status = 500
    assert filled.webhooks.deliver().failed == 1
    assert filled.webhooks.deliver() == Delivered(sent=0, failed=0)  # nothing is due yet
    clock.forward(seconds=6)
    assert filled.webhooks.deliver().failed == 1
    clock.forward(seconds=6)
    assert filled.webhooks.deliver().failed == 0  # the wait has grown
    hook.status = 200
    clock.forward(seconds=20)
    assert filled.webhooks.deliver().sent == 1
    assert len({headers["webhook-id"] for headers, _ in hook.got}) == 1
    assert filled.webhooks.all()[0].pending == 0


def test_a_receiver_that_is_away_loses_nothing(filled: Store, clock: Clock) -> None:
    filled.webhooks.add("http://127.0.0.1:9/")
    decide(filled)
    for _ in range(30):
        filled.webhooks.deliver()
        clock.forward(hours=7)
    assert filled.webhooks.all()[0].pending == 1


def test_events_of_one_comment_keep_their_order(filled: Store, hook: Hook, clock: Clock) -> None:
    filled.webhooks.add(hook.url)
    made = decide(filled)
    hook.status = 503
    filled.webhooks.deliver()
    filled.desk.undo("ada", made)
    hook.status = 200
    assert filled.webhooks.deliver().sent == 0  # the undo waits for the decision
    clock.forward(minutes=1)
    assert filled.webhooks.deliver().sent == 2
    assert [event["type"] for event in hook.events()[1:]] == ["decision.made", "decision.undone"]


def test_a_sender_that_dies_leaves_the_event_to_the_next(filled: Store, hook: Hook, clock: Clock) -> None:
    filled.webhooks.add(hook.url)
    decide(filled)
    assert filled.webhooks._next() is not None  # taken, and never sent
    assert filled.webhooks.deliver().sent == 0
    clock.forward(seconds=61)
    assert filled.webhooks.deliver().sent == 1


def test_redirects_are_not_followed(filled: Store, hook: Hook) -> None:
    filled.webhooks.add(hook.url)
    decide(filled)
    hook.status = 302
    assert filled.webhooks.deliver().failed == 1
    assert len(hook.got) == 1


def test_bulk_acts_and_sites(filled: Store, hook: Hook) -> None:
    from moderation.queue import Filter

    filled.webhooks.add(hook.url)
    filled.webhooks.add(hook.url, site="herald")
    filled.arrivals.put([incoming(1)], site="herald", intake=PLAIN)
    bulk = filled.bulks.act("ada", Filter(low=0.9), Ruling("approve"))
    filled.bulks.undo("ada", bulk.ref)
    assert filled.webhooks.deliver().sent == 2 * bulk.size == 4
    filled.bulks.act("ada", Filter(site="herald"), Ruling("approve"))
    assert filled.webhooks.deliver().sent == 2


def test_a_removed_webhook_is_told_nothing(filled: Store, hook: Hook) -> None:
    _, webhook = filled.webhooks.add(hook.url)
    decide(filled)
    filled.webhooks.remove(webhook.ref)
    decide(filled)
    assert filled.webhooks.deliver().sent == 0
    for act in (filled.webhooks.remove, filled.webhooks.rotate):
        for ref in (webhook.ref, 99):
            with pytest.raises(NotFound):
                act(ref)


def test_running_until_it_is_stopped(filled: Store, hook: Hook) -> None:
    filled.webhooks.add(hook.url)
    stop = threading.Event()
    thread = threading.Thread(target=filled.webhooks.run, args=(stop,), kwargs={"every": 0.01})
    thread.start()
    decide(filled)
    for _ in range(500):
        if hook.got:
            break
        stop.wait(0.02)
    stop.set()
    thread.join()
    assert len(hook.got) == 1


def test_what_stops_the_sender_is_logged_once_and_it_goes_on(
    filled: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    away, foreign = StoreUnavailable("queue.db: busy; try again"), StoreForeign("queue.db: not a database, or damaged")
    unknown = KeyError("text 19 you clown")
    rounds = iter([away, away, None, away, foreign, unknown, unknown, None, None])
    stop = threading.Event()
    read = filled.database.read

    def troubled() -> AbstractContextManager[Connection]:
        found = next(rounds, "over")
        if found == "over":
            stop.set()
        if isinstance(found, Exception):
            raise found
        return read()

    monkeypatch.setattr(filled.database, "read", troubled)
    caplog.set_level("INFO", "moderation.webhooks")
    filled.webhooks.run(stop, every=0.001)
    lines = [record.getMessage() for record in caplog.records]
    waits, again = "webhooks wait for the database: queue.db: busy; try again", "webhooks are sent again"
    damaged = "webhooks cannot be sent: StoreForeign: queue.db: not a database, or damaged"
    assert [*lines[:4], *lines[5:]] == [waits, again, waits, damaged, again]
    assert re.fullmatch(r"webhooks cannot be sent: KeyError in .*test_webhooks\.py:\d+", lines[4])


def test_a_receiver_that_does_not_answer_keeps_no_other_waiting(
    filled: Store, hook: Hook, clock: Clock, silent: tuple[str, list[socket.socket]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moderation.queue.posting.TIMEOUT", 1.5)
    url, tries = silent
    filled.webhooks.add(url)
    filled.webhooks.add(hook.url)
    for _ in range(8):
        decide(filled)
    delivered = filled.webhooks.deliver()
    assert (delivered.sent, delivered.failed, len(tries)) == (8, 1, 1)
    for n in range(60):  # five minutes, and a decision in each
        if not n % 12:
            decide(filled)
        clock.forward(seconds=5)
        filled.webhooks.deliver()
        assert len(hook.got) == 9 + n // 12
    assert 2 <= len(tries) <= 5
    assert [webhook.pending for webhook in filled.webhooks.all()] == [13, 0]


@pytest.fixture
def dead(hook: Hook) -> Iterator[tuple[str, int]]:
    """An address of loopback, with the port of `hook`, that never takes a connection."""
    with socket.socket() as listener, ExitStack() as tries:
        listener.bind(("127.0.0.2", hook.server.server_port))
        listener.listen(0)
        for _ in range(4):  # more than it lets wait
            some = tries.enter_context(socket.socket())
            some.setblocking(False)
            some.connect_ex(listener.getsockname())
        yield listener.getsockname()


def test_an_address_that_is_dead_leaves_time_for_the_others(
    filled: Store, hook: Hook, dead: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    live = ("127.0.0.1", dead[1])
    unknown = (9999, socket.SOCK_STREAM, 6, "", live)  # a family that this machine does not have
    found = [unknown, *((socket.AF_INET, socket.SOCK_STREAM, 6, "", where) for where in (dead, dead, live))]
    monkeypatch.setattr("moderation.queue.posting.socket.getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr("moderation.queue.posting.TIMEOUT", 3.0)
    filled.webhooks.add(f"http://many.example:{dead[1]}/")
    decide(filled)
    assert filled.webhooks.deliver() == Delivered(sent=1, failed=0)
    assert len(hook.got) == 1


@pytest.fixture
def dripping() -> Iterator[str]:
    """The address of a receiver whose answer has one byte more every tenth of a second, for half a minute."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        with suppress(OSError):
            held = listener.accept()[0]
            with held:
                held.sendall(b"HTTP/1.1 200 OK\r\nX: ")
                for _ in range(300):
                    time.sleep(0.1)
                    held.sendall(b"a")
                held.sendall(b"\r\n\r\n")

    threading.Thread(target=answer, daemon=True).start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    listener.close()


def test_an_answer_that_drips_is_none(filled: Store, dripping: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moderation.queue.posting.TIMEOUT", 1.0)
    filled.webhooks.add(dripping)
    decide(filled)
    begun = time.monotonic()
    assert filled.webhooks.deliver() == Delivered(sent=0, failed=1)
    assert time.monotonic() - begun < 8


def test_a_late_failure_undoes_no_delivery(filled: Store, clock: Clock) -> None:
    got: list[str] = []

    def soon(_url: str, _body: bytes, headers: Mapping[str, str]) -> int:
        got.append(headers["webhook-id"])
        return 204

    def late(*_: object) -> int:
        clock.forward(seconds=70)  # longer than the lease
        assert second.deliver().sent == 1
        raise OSError

    second = Webhooks(filled.database, soon)
    filled.webhooks.add("http://news.example/")
    decide(filled)
    assert Webhooks(filled.database, late).deliver(limit=1).failed == 1
    assert filled.webhooks.all()[0].pending == 0
    clock.forward(minutes=30)
    assert second.deliver().sent == 0
    assert len(got) == 1


def test_receivers_take_turns(filled: Store, hook: Hook) -> None:
    for part in "abc":
        filled.webhooks.add(hook.url + part)
    for _ in range(3):
        decide(filled)
    told = [filled.webhooks.deliver(limit=1).sent and len(hook.got) for _ in range(10)]
    assert told == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]
    assert [path[1:] for path in hook.paths] == ["a", "b", "c"] * 3


def test_what_was_stopped_begins_nothing_more(
    filled: Store, silent: tuple[str, list[socket.socket]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moderation.queue.posting.TIMEOUT", 1.0)
    url, tries = silent
    for _ in range(10):
        filled.webhooks.add(url)
    decide(filled)
    stop = threading.Event()
    thread = threading.Thread(target=filled.webhooks.run, args=(stop,), kwargs={"every": 0.01})
    thread.start()
    while not tries:
        time.sleep(0.01)
    stop.set()
    thread.join(5)
    assert not thread.is_alive() and len(tries) == 1


def test_a_server_ends_while_a_receiver_does_not_answer(
    tmp_path: Path, silent: tuple[str, list[socket.socket]]
) -> None:
    url, tries = silent
    with Store.open(tmp_path / "queue.db") as store:
        furnish(store)
        store.arrivals.put([incoming(n, 0.9) for n in range(12)], site="gazette", intake=PLAIN)
        for _ in range(3):
            store.webhooks.add(url)
        for _ in range(12):
            decide(store)
    with serving(tmp_path) as server:
        while not tries:
            time.sleep(0.05)
        begun = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - begun < 20


@pytest.mark.parametrize(
    "url",
    [
        "ftp://news.example", "news.example/hook", "https://me:secret@news.example/", "http://", "http://[::1/hook",
        "https://news.example:0/", "https://news.example:65536/", "https://news.example:https/", "https://news..example",
        f"https://{'a' * 64}.example/", f"https://{'a.' * 130}example/", "https://news_example!/", "https://-news.example/",
        "https://10.0.0.256/", "https://10.1/", "https://[::g]/", "https://news.example/a b", "https://news.\nexample/",
        "https://news.example/caf\u00e9", "https://\ud800.example/",
    ],
)  # fmt: skip
def test_addresses_that_are_none(store: Store, url: str) -> None:
    with pytest.raises(InputError, match="url"):
        store.webhooks.add(url)
    assert store.webhooks.all() == []


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:8080/hook", "https://news.example./a?b=c", "http://10.0.0.1/", "http://[::1]:9/", "https://müller.example/",
        "http://queue_backend/hook",
    ],
)  # fmt: skip
def test_addresses_that_are_some(store: Store, url: str) -> None:
    assert store.webhooks.add(url)[1].url == url


def test_waits_grow_and_end_at_six_hours() -> None:
    waits = [wait_after(failures).total_seconds() for failures in range(12)]
    assert waits[:4] == [5, 20, 80, 320]
    assert waits[-1] == 6 * 3600


def test_a_signature_known_from_the_specification() -> None:
    # Example values of the Standard Webhooks specification.
    now = datetime.fromtimestamp(1614265330, UTC)
    headers = sign(
        "msg_p5jXN8AQM9LWM0D4loKWxJek", now, b'{"test": 2432232314}', ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_host_that_is_none_does_not_stop_the_others(filled: Store) -> None:
    filled.webhooks.add("http://nowhere.invalid/hook")
    with filled.database.write() as connection:  # as a version that checked less may have left it
        connection.execute(update(webhooks).values(url=f"http://{'a' * 64}.example/hook"))
    [item] = filled.desk.claim("ada")
    filled.desk.decide("ada", item.ref, Ruling("approve"))
    assert filled.webhooks.deliver().failed == 1
