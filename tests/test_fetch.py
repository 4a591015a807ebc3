"""Fetching from a real server on the loopback interface."""

import collections
import email.utils
import http.server
import json
import threading
import time

import pytest

from training import corpora
from training import fetch as fetching
from training.corpora import CorpusDamaged, CorpusNotFound, FetchError
from training.fetch import Patience, download, fetch

QUICK = Patience(attempts=3, first_wait=0.001, longest_wait=0.01, timeout=2, largest=2**20)
BODY = "".join(f"{number},line {number}\n" for number in range(5000)).encode()


class Shelf(http.server.BaseHTTPRequestHandler):
    """Serves `server.files`; before that, each entry of `server.faults` spoils one request."""

    def do_GET(self):
        self.server.seen.append(self.headers.get("Range"))
        fault = self.server.faults.popleft() if self.server.faults else None
        if isinstance(fault, tuple):
            status, headers = fault
            return self.answer(status, b"", headers)
        body = self.server.files.get(self.path)
        if body is None:
            return self.answer(404, b"", {})
        first = self.first_byte(len(body))
        if first is None:
            return self.answer(416, b"", {})
        headers = {"Content-Length": str(len(body) - first)}
        if self.server.etag:
            headers["ETag"] = self.server.etag
        if first:
            headers["Content-Range"] = f"bytes {first if fault != 'shift' else 0}-{len(body) - 1}/{len(body)}"
        sent = body[first:]
        if fault == "drop":
            sent = sent[: len(sent) // 2]
        if fault == "unmeasured":
            del headers["Content-Length"]
        self.answer(206 if first else 200, sent, headers)

    def first_byte(self, size):
        asked, version = self.headers.get("Range"), self.headers.get("If-Range")
        if not (asked and self.server.ranges) or version != self.server.etag:
            return 0
        first = int(asked.removeprefix("bytes=").rstrip("-"))
        return first if first < size else None

    def answer(self, status, body, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Shelf) as shelf:
        shelf.files, shelf.faults, shelf.seen, shelf.etag, shelf.ranges = {}, collections.deque(), [], '"v1"', True
        shelf.url = f"http://127.0.0.1:{shelf.server_port}/"
        thread = threading.Thread(target=shelf.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield shelf
        shelf.shutdown()
        thread.join()


@pytest.fixture
def get(server, tmp_path):
    """Download /f into the temporary folder and return what arrived."""

    def run(patience=QUICK, **options):
        target = tmp_path / "f.csv"
        download(server.url + "f", target, patience=patience, **options)
        assert [path.name for path in tmp_path.iterdir()] == ["f.csv"]  # neither part nor mark is left
        return target.read_bytes()

    server.files["/f"] = BODY
    return run


def test_a_file_arrives_whole(server, get):
    assert get() == BODY and server.seen == [None]


def test_a_dropped_connection_goes_on_where_it_stopped(server, get):
    server.faults.extend(["drop", "drop"])
    assert get() == BODY
    half = len(BODY) // 2
    assert server.seen == [None, f"bytes={half}-", f"bytes={half + (len(BODY) - half) // 2}-"]


def test_progress_between_drops_is_patience_enough(server, get):
    server.faults.extend(["drop"] * 8)  # more than the three attempts, but each brings bytes
    assert get() == BODY


def test_a_server_without_ranges_begins_anew(server, get):
    server.ranges = False
    server.faults.append("drop")
    assert get() == BODY and server.seen[1] is not None


@pytest.mark.parametrize("etag", [None, 'W/"v1"'])
def test_without_a_strong_etag_nothing_is_pieced_together(server, get, etag):
    server.etag = etag
    server.faults.append("drop")
    assert get() == BODY and server.seen == [None, None]


def test_a_version_that_changed_meanwhile_begins_anew(server, tmp_path, get):
    (tmp_path / "f.csv.part").write_bytes(b"old bytes")
    (tmp_path / "f.csv.mark").write_text(json.dumps({"url": server.url + "f", "version": '"v0"'}))
    assert get() == BODY and server.seen == ["bytes=9-"]


@pytest.mark.parametrize("mark", ["{", "[]", '{"url": "elsewhere", "version": "x"}', '{"url": "URL", "version": null}'])
def test_a_useless_mark_begins_anew(server, tmp_path, get, mark):
    (tmp_path / "f.csv.part").write_bytes(b"old bytes")
    (tmp_path / "f.csv.mark").write_text(mark.replace("URL", server.url + "f"))
    assert get() == BODY and server.seen == [None]


def test_a_part_longer_than_the_file_begins_anew(server, tmp_path, get):
    (tmp_path / "f.csv.part").write_bytes(BODY + b"more")
    (tmp_path / "f.csv.mark").write_text(json.dumps({"url": server.url + "f", "version": '"v1"'}))
    assert get() == BODY


def test_another_range_than_asked_begins_anew(server, get):
    server.faults.extend(["drop", "shift"])
    assert get() == BODY and server.seen[2] is None


def test_passing_faults_are_tried_again(server, get):
    server.faults.extend([(503, {}), (429, {"Retry-After": "0"})])
    assert get() == BODY


@pytest.mark.parametrize("wait", ["0", "soon", email.utils.formatdate(0, usegmt=True)])
def test_retry_after_is_understood(server, get, wait):
    server.faults.append((503, {"Retry-After": wait}))
    assert get() == BODY


def test_retry_after_is_honoured_up_to_the_longest_wait():
    later = email.utils.formatdate(time.time() + 500, usegmt=True)
    assert fetching._retry_after("7") == 7.0 and 400 < fetching._retry_after(later) <= 500
    assert fetching._wait(Patience(longest_wait=60), 1, 7.0) == 7.0
    assert fetching._wait(Patience(longest_wait=60), 1, 500.0) == 60.0
    waits = [fetching._wait(Patience(), failures, None) for failures in (1, 2, 3)]
    assert all(2**n * 0.5 <= wait <= 2**n * 1.5 for n, wait in enumerate(waits))


def test_lasting_faults_end_it(server, get, tmp_path):
    server.faults.extend([(500, {})] * 3)
    with pytest.raises(FetchError, match="gave up after 3 attempts without progress: HTTP status 500"):
        get()
    assert len(server.seen) == 3


def test_not_found_is_not_tried_again(server, get):
    server.files.clear()
    with pytest.raises(FetchError, match="expected HTTP status 200, got 404"):
        get()
    assert len(server.seen) == 1


def test_a_closed_port_counts_as_dropped(server, tmp_path):
    server.server_close()
    with pytest.raises(FetchError, match="gave up after 3 attempts"):
        download(server.url + "f", tmp_path / "f", patience=QUICK)


def test_an_unknown_host_is_final(tmp_path, monkeypatch):
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: (_ for _ in ()).throw(OSError("no such host")))
    with pytest.raises(FetchError, match="no such host"):
        download("http://nowhere.invalid/f", tmp_path / "f", patience=QUICK)


@pytest.mark.parametrize("fault", [None, "unmeasured"])
def test_a_file_beyond_the_limit_is_refused(server, get, tmp_path, fault):
    server.faults.append(fault)
    with pytest.raises(FetchError, match="expected at most 1000 bytes"):
        get(Patience(attempts=1, largest=1000))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("progress", "terminal"), [(True, True), (True, False), (False, True)])
def test_a_bar_is_shown_on_a_terminal_if_wanted(server, get, capsys, monkeypatch, progress, terminal):
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    get(progress=progress)
    shown = capsys.readouterr()
    assert ("f.csv" in shown.err) == (progress and terminal) and shown.out == ""


CSV = 'id,comment,kind\n1,"Hang him, now",2\n2,,0\n3,Left out,0\n4,Fine,0\n'
UPSTREAM = {
    "format": "csv",
    "files": [{"path": "data/tiny.csv", "split": "train"}],
    "id": "t{id}",
    "text": "comment",
    "same": ["kind"],
    "integers": ["kind"],
    "skip": ["t3"],
    "incitement": {"one": {"kind": 2}, "zero": {"kind": 0}},
}
UNIFIED = [
    {"id": "t1", "text": "Hang him, now", "split": "train", "labels": {"kind": 2}, "incitement": 1, "abuse": None},
    {"id": "t4", "text": "Fine", "split": "train", "labels": {"kind": 0}, "incitement": 0, "abuse": None},
]


def corpus(upstream, rows=UNIFIED, text_field="text"):
    words = dict.fromkeys(("title", "source", "licence", "domain", "language", "faults"), "invented")
    digest = corpora.content_digest(rows, text_field)
    return corpora.Corpus(
        name="tiny", tier="open", role="train", rows=len(rows), sha256="0" * 64, content_sha256=digest,
        labels={"incitement": corpora.parse_rule("tiny", "incitement", "row")}, text_field=text_field,
        upstream=upstream, **words,
    )  # fmt: skip


def test_a_corpus_is_fetched_converted_and_kept(server, tmp_path):
    server.files["/data/tiny.csv"] = CSV.encode()
    known = {"tiny": corpus(UPSTREAM | {"url": server.url})}
    fetch(["tiny", "tiny"], tmp_path / "new", registry=known, progress=False, patience=QUICK)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["tiny.jsonl.gz"]
    rows = corpora.read_corpus(known["tiny"], tmp_path / "new")
    assert [(row.id, row.labels["incitement"]) for row in rows] == [("t1", 1), ("t4", 0)]
    first = (tmp_path / "new" / "tiny.jsonl.gz").read_bytes()
    fetch(["tiny"], tmp_path / "new", registry=known)  # whole: nothing is asked for
    assert len(server.seen) == 1
    fetch(["tiny"], tmp_path / "again", registry=known, patience=QUICK)
    assert (tmp_path / "again" / "tiny.jsonl.gz").read_bytes() == first  # no time in the gzip header


def test_wrong_bytes_are_refused_and_not_left_behind(server, tmp_path):
    server.files["/data/tiny.csv"] = CSV.replace("Fine", "Altered").encode()
    known = {"tiny": corpus(UPSTREAM | {"url": server.url})}
    with pytest.raises(CorpusDamaged, match=r"expected 2 rows with content [0-9a-f]{64}, got 2 with [0-9a-f]{64}"):
        fetch(["tiny"], tmp_path, registry=known, progress=False, patience=QUICK)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_fetch_goes_on_when_called_again(server, tmp_path):
    server.files |= {"/data/tiny.csv": CSV.encode()}
    known = {"tiny": corpus(UPSTREAM | {"url": server.url})}
    server.faults.extend(["drop", (503, {}), (503, {}), (503, {})])
    with pytest.raises(FetchError):
        fetch(["tiny"], tmp_path, registry=known, progress=False, patience=QUICK)
    fetch(["tiny"], tmp_path, registry=known, progress=False, patience=QUICK)
    assert server.seen[-1] == f"bytes={len(CSV) // 2}-"


def test_a_damaged_copy_is_replaced(server, tmp_path):
    server.files["/data/tiny.csv"] = CSV.encode()
    (tmp_path / "tiny.jsonl.gz").write_bytes(b"damaged")
    known = {"tiny": corpus(UPSTREAM | {"url": server.url})}
    fetch(["tiny"], tmp_path, registry=known, progress=False, patience=QUICK)
    assert len(corpora.read_corpus(known["tiny"], tmp_path)) == 2


def test_nothing_is_fetched_if_a_name_is_unknown_or_has_no_address(server, tmp_path):
    known = {"tiny": corpus(UPSTREAM | {"url": server.url}), "closed": corpus(None)}
    with pytest.raises(CorpusNotFound, match="other: no such corpus; expected one of closed, tiny"):
        fetch(["tiny", "other"], tmp_path, registry=known)
    with pytest.raises(CorpusNotFound, match=f"no stable public address; .* {tmp_path}, expected SHA-256 {'0' * 64}"):
        fetch(["tiny", "closed"], tmp_path, registry=known)
    assert server.seen == []
