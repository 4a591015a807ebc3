"""Converting what publishers offer to the one form of our corpora."""

import csv
import gzip
import io
import json
from pathlib import Path

import pytest

from tests.test_fetch import UPSTREAM, corpus
from training import convert, corpora
from training.corpora import RegistryError, UpstreamError

SHARED = Path(__file__).resolve().parents[2] / "shared" / "corpora"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f"the public corpora are not in {SHARED}")
REGISTRY = corpora.load_registry()


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
