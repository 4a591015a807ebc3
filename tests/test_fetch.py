"""Fetching from a real server on the loopback interface, and converting what it gives."""

import collections
import csv
import email.utils
import gzip
import http.server
import io
import json
import threading
import time
from pathlib import Path

import pytest

from training import convert, corpora
from training import fetch as fetching
from training.corpora import CorpusDamaged, CorpusNotFound, FetchError, RegistryError, UpstreamError
from training.fetch import Patience, download, fetch

SHARED = Path(__file__).resolve().parents[2] / "shared" / "corpora"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f"the public corpora are not in {SHARED}")
REGISTRY = corpora.load_registry()
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


def converted(upstream, folder, **files):
    """Convert files of these contents; dots in their names are written as two underscores."""
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8", newline="")
    parsed = convert.parse_upstream(corpus({"url": "https://example.org/", "id": "{_row}", "text": "text"} | upstream))
    assert parsed is not None
    return list(convert.convert(parsed, folder))


def test_csv_with_crlf_and_quotes(tmp_path):
    upstream = {"format": "csv", "files": [{"path": "a.csv", "name": "a"}], "id": "{_file}{_row}-{}"}
    rows = converted(upstream, tmp_path, a__csv=',text\r\n7,"two\r\nlines, ""quoted"""\r\n')
    assert rows[0] == {
        "id": "a0-7", "text": 'two\nlines, "quoted"', "split": None, "labels": {}, "incitement": None, "abuse": None,
        "group": None, "parent": None, "case": None,
    }  # fmt: skip


def test_tsv_joined_with_a_second_file(tmp_path):
    upstream = {
        "format": "tsv", "files": [{"path": "a.tsv"}], "join": {"path": "b.tsv", "on": "text", "columns": ["kind"]},
        "same": ["kind"], "blank_is_null": ["kind"], "abuse": {"one": {"kind": "rude"}},
    }  # fmt: skip
    rows = converted(upstream, tmp_path, a__tsv="text\none\ntwo\n", b__tsv="text\tkind\ntwo\trude\n")
    assert [(row["labels"], row["abuse"]) for row in rows] == [({"kind": None}, None), ({"kind": "rude"}, 1)]


def test_jsonl_with_parents_groups_and_cases(tmp_path):
    upstream = {
        "format": "jsonl", "files": [{"path": "a.jsonl", "constants": {"language": "en"}}], "parent": "prev",
        "case": "test", "group": {"column": "who", "nothing": "-"}, "labels": {"verdict": "v"}, "numbers": ["verdict"],
        "split_column": "part",
    }  # fmt: skip
    lines = [
        {"text": "a \u2028 b", "prev": "", "test": "t1", "who": "-", "v": "0.5", "part": "dev"},
        {"text": "c", "prev": "p", "test": "t2", "who": "women", "v": 1, "part": "test"},
    ]
    rows = converted(upstream, tmp_path, a__jsonl="\n".join(json.dumps(line, ensure_ascii=False) for line in lines))
    assert [(row["parent"], row["case"], row["group"], row["split"]) for row in rows] == [
        (None, "t1", None, "dev"),
        ("p", "t2", "women", "test"),
    ]
    assert rows[0]["labels"] == {"verdict": 0.5, "language": "en"}


def test_lines_with_labels_beside_them(tmp_path):
    files = [{"path": "t.txt", "labels_path": "l.txt", "split": "dev"}]
    upstream = {"format": "lines", "files": files, "labels": {"hate": "label"}, "integers": ["hate"]}
    upstream |= {"group": {"flags": ["is_label"], "prefix": "is_"}, "abuse": {"copy": "hate"}}
    with pytest.raises(UpstreamError, match="a column 'is_label', got label, text"):
        converted(upstream, tmp_path, t__txt="one \x85\ntwo\n", l__txt="1\n0\n")
    del upstream["group"]
    rows = converted(upstream, tmp_path, t__txt="one \x85\ntwo\n", l__txt="1\n0\n")
    assert [(row["text"], row["abuse"]) for row in rows] == [("one \x85", 1), ("two", 0)]
    with pytest.raises(UpstreamError, match="expected 2 labels, got 1"):
        converted(upstream, tmp_path, l__txt="1\n")


def test_columns_kept_as_they_are_and_values_named(tmp_path):
    upstream = {"format": "csv", "files": [{"path": "a.csv"}], "as_it_is": True}
    assert converted(upstream, tmp_path, a__csv="text,X\nhi,0.5\n") == [{"text": "hi", "X": "0.5"}]
    upstream = {"format": "csv", "files": [{"path": "a.csv"}], "labels": {"x": "X"}, "names": {"x": {"1": "bad"}}}
    upstream["group"] = {"flags": ["is_a", "is_b"], "prefix": "is_"}
    (row,) = converted(upstream, tmp_path, a__csv="text,X,is_a,is_b\nhi,1,1,1\n")
    assert row["labels"] == {"x": "bad"} and row["group"] == "a,b"


@pytest.mark.parametrize(
    ("change", "text", "message"),
    [
        ({"text": "body"}, "text\nhi\n", "a.csv: record 0: expected a column 'body', got text"),
        ({"same": ["n"], "integers": ["n"]}, "text,n\nhi,many\n", "a.csv: record 0: n: got an unknown value"),
        ({"same": ["n"], "names": {"n": {"1": "x"}}}, "text,n\nhi,2\n", "record 0: n: got an unknown value"),
        ({"format": "jsonl"}, "[1]\n", "a.csv: record 0: expected a JSON object"),
        ({"format": "jsonl"}, "{\n", "a.csv: record 0: expected a JSON object"),
    ],
)
def test_another_layout_is_named(tmp_path, change, text, message):
    with pytest.raises(UpstreamError, match=message):
        converted({"format": "csv", "files": [{"path": "a.csv"}]} | change, tmp_path, a__csv=text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"url": "ftp://x/"}, r"\[tiny.upstream\] url: expected https"),
        ({"url": "https://x/y"}, "url: expected https://... with a slash at its end"),
        ({"format": "xml"}, "format: expected one of csv, tsv, jsonl, lines, got 'xml'"),
        ({"files": []}, r"files: expected a value, got \[\]"),
        ({"files": ["a"]}, "files: expected a list of tables"),
        ({"files": [{"path": "a", "split": "validation"}]}, "split: expected one of train"),
        ({"files": [{"path": "a", "labels_path": "b"}]}, "labels_path: expected a path exactly if"),
        ({"files": [{"split": "dev"}]}, "path: expected a value, for the file or for all files"),
        ({"files": [{"path": 1}]}, r"\[tiny.upstream.files\] path: expected a str"),
        ({"colour": "red"}, "colour: expected one of"),
        ({"join": {"path": "b"}}, "join: expected path, on and columns"),
        ({"group": {"where": "b"}}, "group: expected {column}"),
        ({"abuse": {"sum": 1}}, 'abuse: expected "row"'),
    ],
)
def test_a_wrong_upstream_table_is_named(change, message):
    with pytest.raises(RegistryError, match=message):
        convert.parse_upstream(corpus(UPSTREAM | {"url": "https://example.org/"} | change))


# Columns of the publishers' files as read in a stored copy of the repositories (those of gc.csv in the authors' code),
# without some that nobody needs. Texts and values come from the shared corpora.
MHC = "mhc_case_id,functionality,test_case,label_gold,target_ident,ref_case_id,ref_templ_id,templ_id,case_templ"
HEADINGS = {
    "jigsaw_wiki_binary": [",text,toxic"],
    "context_toxicity": ["id,text,parent,label,api", "id,text,label,api", "text,parent_text,label_oc,label_ic"],
    "fox_news": ["title,text,label,succ,meta,user,mentions,prev"],
    "trac1": ["Speech,Product"],
    "gab_hate_corpus": ["text,hd,cv,vo"] * 2,
    "implicit_hate": ["post,class"],
    "edos": ["rewire_id,text,label_sexist,label_category,label_vector,split"],
    "hatemojibuild": ["entry_id,text,type,target,round.base,round.set,set,split,label_gold,matched_id"] * 3,
    "hatecheck": [",functionality,case_id,test_case,label_gold,target_ident,direction,focus_lemma,ref_case_id"],
    "multilingual_hatecheck": [MHC] * 10,
    "hatexplain": [
        "text,rationale_pos,label,label_gender,label_religion,label_race,label_economic,label_minority"
    ],
    "davidson": [",count,hate_speech,offensive_language,neither,class,tweet"],
    "tweeteval_hate": ["text,label"] * 3,
    "vitd_bangla": ["text,label"] * 3,
    "aljazeera_ar": [",text,level"] * 3,
}  # fmt: skip


def as_published(file, raws, heading, numbered):
    """Write the rows of one file as its publisher would: the settings of the registry, read backwards."""
    form = file.form
    columns = {form["text"]: lambda raw: raw["text"]}
    renamed = {**{name: name for name in form.get("same", ())}, **form.get("labels", {})}
    for label, column in renamed.items():
        if column not in heading.split(","):
            continue  # from the joined file
        back = {name: value for value, name in form.get("names", {}).get(label, {}).items()}
        columns[column] = lambda raw, label=label, back=back: back.get(raw["labels"][label], raw["labels"][label])
    for key, column in (
        ("split", form.get("split_column")),
        ("parent", form.get("parent")),
        ("case", form.get("case")),
    ):
        if column:
            columns[column] = lambda raw, key=key: raw[key]
    prefix, _, rest = form["id"].partition("{")
    if (column := rest.split("}")[0]) not in ("_row", "_file"):
        columns[column] = lambda raw: raw["id"].removeprefix(prefix)
    places = {int(raw["id"].removeprefix(prefix + form.get("name", ""))): raw for raw in raws} if numbered else None
    ordered = [places.get(place) for place in range(max(places) + 1)] if places else raws
    names = heading.split(",")
    assert set(columns) <= set(names)
    # A row that the unified corpus left out stands here as an invented one.
    gap = dict.fromkeys(names, "left out") | {renamed.get(name): 0 for name in form.get("integers", ())}
    return names, [{name: columns.get(name, lambda _: "0")(raw) for name in names} if raw else gap for raw in ordered]


def write_published(upstream, file, folder, names, records):
    path = folder / convert.local_name(file.path)
    if upstream.format == "jsonl":
        path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    elif upstream.format == "lines":
        path.write_text("".join(record["text"] + "\n" for record in records), encoding="utf-8", newline="")
        labels = "".join(f"{record['label']}\n".replace("left out", "0") for record in records)
        (folder / convert.local_name(file.labels_path)).write_text(labels)
    else:
        table = io.StringIO(newline="")
        writer = csv.DictWriter(table, names, delimiter="," if upstream.format == "csv" else "\t")
        writer.writeheader()
        writer.writerows(records)
        path.write_text(table.getvalue(), encoding="utf-8", newline="")


def rows_of_file(file, files, raws):
    """Return the rows that come from one of the publisher's files."""
    form = file.form
    if "name" in form:
        return [raw for raw in raws if raw["id"].startswith(form["name"])]
    if "constants" in form and "language" in form["constants"]:
        return [raw for raw in raws if raw["labels"]["language"] == form["constants"]["language"]]
    if form["id"].startswith(("gc-", "gn-", "small-")):
        return [raw for raw in raws if raw["id"].startswith(form["id"].partition("{")[0])]
    return raws if len(files) == 1 else [raw for raw in raws if raw["split"] == form["split"]]


@needs_shared
@pytest.mark.parametrize("name", sorted(HEADINGS))
def test_the_converter_gives_back_the_unified_corpus(name, tmp_path):
    known = REGISTRY[name]
    upstream = convert.parse_upstream(known)
    packed = (SHARED / known.file_name).read_bytes()
    raws = [json.loads(line) for line in gzip.decompress(packed).decode().split("\n") if line]
    for file, heading in zip(upstream.files, HEADINGS[name], strict=True):
        numbered = "_row" in file.form["id"]
        own = rows_of_file(file, upstream.files, raws)
        write_published(upstream, file, tmp_path, *as_published(file, own, heading, numbered))
    if upstream.join:
        keys = upstream.join["columns"]
        second = [{upstream.join["on"]: raw["text"]} | {key: raw["labels"][key] for key in keys} for raw in raws]
        joined = convert.File(upstream.join["path"], None, {})
        write_published(upstream, joined, tmp_path, list(second[0]), [one for one in second if one[keys[0]]])
    rows = list(convert.convert(upstream, tmp_path))
    assert len(rows) == known.rows
    assert corpora.content_digest(rows) == known.content_sha256


@needs_shared
@pytest.mark.parametrize("name", sorted(name for name, each in REGISTRY.items() if each.upstream))
def test_the_upstream_rules_give_the_rows_own_labels(name):
    known, rules = REGISTRY[name], convert.parse_upstream(REGISTRY[name])
    packed = (SHARED / known.file_name).read_bytes()
    for line in gzip.decompress(packed).decode().split("\n"):
        if line and (raw := json.loads(line)) and not rules.as_it_is:
            assert (rules.incitement.apply(raw), rules.abuse.apply(raw)) == (raw["incitement"], raw["abuse"])
