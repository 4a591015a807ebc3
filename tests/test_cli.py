"""The command line as its user meets it: a real process, real files, real pipes."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from moderation import Verdict, kernel
from moderation.batch import RESERVED
from moderation.formats.rows import Fields
from moderation.terminal import print_table
from tests.conftest import ROOT

SAMPLE = ROOT / "datasets" / "samples" / "thread.jsonl"


def run(*arguments: str | Path, stdin: bytes = b"", code: int = 0, cwd: Path | None = None) -> tuple[str, str]:
    """Run ``moderation`` and return what it printed, after checking its exit code."""
    program = [sys.executable, "-W", "error", "-c", "from moderation.cli import main; main()"]
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "FORCE_COLOR")}
    done = subprocess.run([*program, *map(str, arguments)], input=stdin, capture_output=True, cwd=cwd, env=environment)
    out, err = done.stdout.decode(), done.stderr.decode()
    assert done.returncode == code, err
    assert "Traceback" not in err
    return out, err


def records(output: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in output.splitlines()]


def test_json_lines_in_and_out(tmp_path: Path) -> None:
    data = b'{"id": "a", "text": "You are a pathetic liar.", "likes": 3}\n{"id": "b", "text": "Nice."}\n'
    out, err = run("score", "--format", "jsonl", stdin=data)
    first, second = records(out)
    assert (first["id"], first["likes"], second["id"]) == ("a", 3, "b")
    assert set(first) == {"id", "text", "likes", "scores", "verdict", "model"}
    assert all(0 <= value <= 1 for value in first["scores"].values())  # type: ignore[attr-defined]
    verdict = Verdict.from_json(first["verdict"])
    assert verdict.action != "allow"
    assert {"pathetic", "liar"} & {str(first["text"])[span.start : span.end] for span in verdict.reasons}
    assert err == ""


def test_a_bad_row_keeps_its_place_and_the_exit_code_says_so() -> None:
    out, err = run("score", stdin=b'{"text": "one"}\nnonsense\n{"text": "three"}\n', code=1)
    first, second, third = records(out)
    assert second["error"] == {
        "type": "RowError",
        "message": "not JSON: Expecting value at column 1",
        "file": "standard input",
        "line": 2,
    }
    assert "scores" in first
    assert "scores" in third
    assert "error: standard input, line 2: not JSON" in err
    assert "nonsense" not in err


def test_many_bad_rows_are_summed_up() -> None:
    _, err = run("score", "--format", "jsonl", stdin=b"x\n" * 30, code=1)
    assert "error: and 20 more rows" in err


def test_lines_csv_and_gzip(tmp_path: Path) -> None:
    out, _ = run("score", stdin=b"first\nsecond\n")
    assert [record["text"] for record in records(out)] == ["first", "second"]
    path = tmp_path / "in.csv.gz"
    path.write_bytes(gzip.compress(b"nr,words\n1,hello\n2,world\n"))
    out, _ = run("score", path, "--text-field", "words", "--id-field", "nr")
    assert [record["verdict"]["comment_id"] for record in records(out)] == ["1", "2"]  # type: ignore[index]


@pytest.mark.parametrize("form", ["auto", "lines", "jsonl", "csv", "tsv"])
def test_utf_16_is_refused_before_the_first_row(form: str, tmp_path: Path) -> None:
    (tmp_path / "in").write_text('{"text": "You liar"}\n', "utf-16")
    _, err = run("score", SAMPLE, "in", "-f", form, "-o", "out.jsonl", cwd=tmp_path, code=2)
    assert err == "error: in: not UTF-8 but UTF-16 or the like; iconv -f UTF-16 -t UTF-8 makes it so\n"
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_several_files_come_in_order(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n")
    (tmp_path / "b.jsonl").write_text('{"text": "two"}\n')
    out, _ = run("score", tmp_path / "a.txt", tmp_path / "b.jsonl")
    assert [record["text"] for record in records(out)] == ["one", "two"]


def test_csv_out(tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    run("score", SAMPLE, "-o", target, "--labels", "abuse,incitement")
    rows = list(csv.DictReader(io.StringIO(target.read_text())))
    assert len(rows) == len(SAMPLE.read_text().splitlines())
    assert {"id", "text", "score_abuse", "score_incitement", "action", "label", "model", "error"} <= set(rows[0])
    assert all(0 <= float(row["score_abuse"]) <= 1 for row in rows)


def test_an_output_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    target.write_text("as it was")
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    run("score", SAMPLE, tmp_path / "bad.csv", "-o", target, code=2)
    assert target.read_text() == "as it was"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.csv", "out.jsonl"]


def test_gzip_out(tmp_path: Path) -> None:
    run("score", SAMPLE, "-o", tmp_path / "out.jsonl.gz")
    lines = gzip.decompress((tmp_path / "out.jsonl.gz").read_bytes()).splitlines()
    assert len(lines) == len(SAMPLE.read_text().splitlines())


def test_sort_and_least_score() -> None:
    out, _ = run("score", SAMPLE, "--labels", "abuse", "--sort", "abuse")
    values = [record["scores"]["abuse"] for record in records(out)]  # type: ignore[index]
    assert values == sorted(values, reverse=True)
    out, _ = run("score", SAMPLE, "--labels", "abuse", "--min-score", str(values[3]))
    assert len(records(out)) == 4
    assert all(set(record["scores"]) == {"abuse"} for record in records(out))  # type: ignore[call-overload]


def test_the_table_shows_scores_verdicts_and_words() -> None:
    out, err = run("score", SAMPLE, "--to", "table")
    assert "incitement" in out
    assert "because of:" in out
    first = out.index("hold") if "hold" in out else out.index("review")
    assert first < out.index("allow")
    assert f"{len(SAMPLE.read_text().splitlines())} comments" in err


def test_a_long_table_has_every_comment_and_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables of a part each, one under the other with the same columns, each with its head."""
    monkeypatch.setattr("moderation.terminal.ROWS", 10)
    out, waiting = io.StringIO(), []

    def scored() -> Iterator[dict[str, Any]]:
        for number in range(95):
            waiting.append(number - out.getvalue().count("#"))
            verdict = {"comment_id": str(number), "action": "allow", "policy_id": "p"}
            yield {"id": str(number), "text": "x" * number * 3, "scores": {"abuse": 0.1}, "verdict": verdict}

    print_table(scored(), out, ["abuse"], Fields())
    assert max(waiting) < 10
    assert [int(number) for number in re.findall(r"#(\d+)", out.getvalue())] == list(range(95))
    heads = [line for line in out.getvalue().splitlines() if "verdict" in line]
    assert (len(heads), len(set(heads))) == (10, 1)


def test_the_table_is_safe_to_print() -> None:
    out, _ = run("score", "--to", "table", stdin=b"\x1b[2J[bold]hi[/bold] \x07 \xe2\x80\xae you idiot\n")
    assert "\x1b" not in out
    assert "\x07" not in out
    assert "[bold]hi[/bold]" in out


@pytest.mark.parametrize("command", ["score --to table", "explain -"])
def test_a_person_at_a_terminal_sees_no_markup(command: str) -> None:
    text = "<p>You utter <b>idi</b>ot, Smith &amp; Sons</p><p>would be ashamed of such a moron</p>"
    out, _ = run(*command.split(), stdin=text.encode())
    assert "You utter idiot, Smith & Sons would be ashamed of such a moron" in " ".join(out.split())
    assert not {"<", "&amp;", "</b>"} & {*out.replace(",", " ").split()}
    assert "<" not in out


def test_a_policy_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('id = "mine-7"\n[thresholds.abuse]\nhold = 0.0\n')
    out, _ = run("score", "--policy", path, stdin=b"anything\n")
    assert records(out)[0]["verdict"]["action"] == "hold"  # type: ignore[index]
    assert records(out)[0]["verdict"]["policy_id"] == "mine-7"  # type: ignore[index]


@pytest.mark.parametrize(
    "command", ["score in.txt -o out.jsonl", "queue import in.txt --site x", "queue rescore", "serve"]
)
def test_a_label_in_the_policy_that_the_model_lacks(command: str, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("hello\n")
    (tmp_path / "mine.toml").write_text('id = "n"\n[thresholds.incitment]\nhold = 0.9\n')
    _, err = run(*command.split(), "--policy", "mine.toml", cwd=tmp_path, code=2)
    assert err.startswith("error: mine.toml, line 2: unknown label 'incitment'; the model scores incitement, ")
    assert not (tmp_path / "out.jsonl.partial").exists()


def test_a_lone_surrogate_goes_through() -> None:
    out, _ = run("score", stdin=b'{"text": "a \\ud800 b"}\n')
    assert records(out)[0]["text"] == "a \ud800 b"


def test_csv_keeps_every_column() -> None:
    data = b'nonsense\n{"id": "1", "text": "a", "label": "spam"}\n{"id": "2", "text": "b", "parent_id": "1"}\n'
    out, _ = run("score", "-f", "jsonl", "--to", "csv", "-l", "abuse,abuse", stdin=data, code=1)
    bad, first, second = list(csv.DictReader(io.StringIO(out)))
    assert "not JSON" in bad["error"]
    assert (first["id"], first["input_label"], second["parent_id"]) == ("1", "spam", "1")
    assert out.splitlines()[0].count("score_abuse") == 1


@pytest.mark.parametrize("to", ["csv", "parquet"])
def test_scoring_a_table_again_loses_no_column(to: str, tmp_path: Path) -> None:
    (tmp_path / "0.csv").write_text("id,text,action,input_label\n1,hi,deleted,spam\n")
    for turn in range(3):
        run("score", f"{turn}.{to if turn else 'csv'}", "-o", f"{turn + 1}.{to}", cwd=tmp_path)
    run("score", f"3.{to}", "-o", "4.csv", cwd=tmp_path)
    (row,) = csv.DictReader(io.StringIO((tmp_path / "4.csv").read_text()))
    assert (row["input_action"], row["input_label"]) == ("deleted", "spam")
    assert [row[f"{'input_' * times}action"] for times in (0, 2, 3, 4)] == ["allow"] * 4
    assert row["score_abuse"] == row["input_score_abuse"] == row["input_input_input_score_abuse"]


FORMULAS = ['=HYPERLINK("http://evil.example")', "@SUM(1)", "  +1", "-1+1", "\t=1", "＝1"]


def test_no_cell_of_a_csv_file_is_a_formula(tmp_path: Path) -> None:
    rows = [{"text": text, "author": text, "=odd": text, "n": -1.5} for text in FORMULAS]
    (tmp_path / "0.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for turn in range(3):
        run("score", tmp_path / f"{turn}.{'csv' if turn else 'jsonl'}", "-o", tmp_path / f"{turn + 1}.csv")
        found = list(csv.DictReader(io.StringIO((tmp_path / f"{turn + 1}.csv").read_bytes().decode(), newline="")))
        for name in ("text", "author", "'=odd"):
            assert [row[name] for row in found] == [f"'{text}" for text in FORMULAS]
        assert {row["n"] for row in found} == {"-1.5"}  # a number is none, also when it was read as text


def test_two_columns_stay_two_when_a_name_is_made_safe() -> None:
    data = json.dumps({"text": "a", "=x": 1, "'=x": 2, "''=x": 3}).encode()
    out, _ = run("score", "--to", "csv", stdin=data)
    (row,) = csv.DictReader(io.StringIO(out))
    assert [row[name] for name in ("'=x", "''=x", "'''=x")] == ["2", "3", "1"]


@pytest.mark.parametrize("to", ["jsonl", "parquet"])
def test_what_is_no_csv_keeps_text_that_looks_like_a_formula(to: str, tmp_path: Path) -> None:
    data = "".join(json.dumps({"text": text}) + "\n" for text in FORMULAS).encode()
    run("score", "-o", tmp_path / f"out.{to}", stdin=data)
    out, _ = run("score", tmp_path / f"out.{to}")
    assert [record["text"] for record in records(out)] == FORMULAS


def test_a_column_has_one_name_in_all_rows() -> None:
    rows = [{"text": "a", "action": "one"}, {"text": "b", "input_action": "two"}, {"text": "c", "action": "three"}]
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    out, _ = run("score", "-f", "jsonl", "--to", "csv", stdin=data)
    found = list(csv.DictReader(io.StringIO(out)))
    assert [row["input_action"] for row in found] == ["", "two", ""]
    assert [row["input_input_action"] for row in found] == ["one", "", "three"]


def test_fields_with_names_of_ours_are_kept_apart() -> None:
    data = b'{"text": "hi", "error": "x", "scores": "n", "model": 3, "truncated": true}\n'
    (record,) = records(run("score", stdin=data)[0])
    assert record["input"] == {"error": "x", "scores": "n", "model": 3, "truncated": True}
    assert "error" not in record
    for kind in ("table", "csv"):
        run("score", "--to", kind, stdin=data)


@pytest.mark.parametrize("name", RESERVED)
def test_the_table_shows_a_text_from_a_field_with_a_name_of_ours(name: str) -> None:
    data = json.dumps({"id": "1", name: "You pathetic little liar."}).encode()
    out, _ = run("score", "-f", "jsonl", "--text-field", name, "--to", "table", stdin=data)
    assert re.search(r"│ You pathetic little liar\. +│", out)
    assert re.search(r"because of: .*\bliar\b", out)


def test_scoring_twice_keeps_the_first_scores() -> None:
    once, _ = run("score", stdin=b'{"text": "hi"}\n')
    (twice,) = records(run("score", stdin=once.encode())[0])
    assert twice["input"]["scores"] == twice["scores"] == records(once)[0]["scores"]  # type: ignore[index]


def test_the_version_is_that_of_the_package() -> None:
    assert run("--version")[0] == f"moderation {version('moderation')}\n"


def test_the_summary_counts_what_is_in_error(tmp_path: Path) -> None:
    rows = b'{"text": "a"}\n{"x": 1}\n{"text": 5}\n'
    _, err = run("score", "-f", "jsonl", "-o", tmp_path / "out.jsonl", stdin=rows, code=1)
    assert err.startswith("3 comments: 1 allow, 0 review, 0 hold, 2 in error (policy ")


def test_the_table_names_comments_by_their_id() -> None:
    out, _ = run("score", "-f", "csv", "--to", "table", stdin=b"comment_id,body\nc77,you idiot\n")
    assert "#c77" in out


@pytest.mark.parametrize("packed", [b"\x1f\x8bxxxxxx", gzip.compress(b"a\n" * 50_000, mtime=0)[:60]])
def test_damaged_gzip_is_one_sentence(packed: bytes, tmp_path: Path) -> None:
    (tmp_path / "b.gz").write_bytes(packed)
    for command in ("score", "extract"):
        _, err = run(command, "b.gz", code=2, cwd=tmp_path)
        assert "error: b.gz: damaged gzip stream" in err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["score", "-", "-"], 2, "error: standard input (-) can be read only once"),
        (["score", "--min-score", "nan"], 2, "error: --min-score: expected a probability from 0 to 1, got nan"),
        (["score", "-o", "."], 2, "is a folder; expected the name of a file"),
        (["score", "/proc/nope/x.jsonl"], 2, "cannot be opened"),
        (["score", "nowhere.jsonl"], 2, "error: nowhere.jsonl: cannot be opened: No such file or directory"),
        (
            ["score", "--labels", "rudeness"],
            2,
            "error: --labels: unknown label 'rudeness'; the model scores incitement",
        ),
        (["score", "--sort", "age"], 2, "error: --sort: expected severity, none or one of"),
        (["score", "--policy", "nowhere.toml"], 2, "error: nowhere.toml: cannot be read"),
        (["score", "--bundle", "nowhere"], 3, "error: nowhere: there is no model here"),
        (["score", "-o", "nowhere/out.jsonl"], 2, "no such folder"),
        (["extract", "nowhere.html"], 2, "error: nowhere.html: cannot be opened"),
        (["explain", "hello", "--labels", "rudeness"], 2, "unknown label 'rudeness'"),
        (["model", "--bundle", "nowhere"], 3, "error: nowhere: there is no model here"),
        (["score", "--colour"], 2, "No such option: --colour"),
    ],
)
def test_errors_are_one_sentence(arguments: list[str], code: int, message: str, tmp_path: Path) -> None:
    _, err = run(*arguments, stdin=b"a\n", code=code, cwd=tmp_path)
    assert message in " ".join(err.split())


@pytest.mark.parametrize("command", [[], ["score"], ["extract"], ["explain"], ["model"]])
def test_every_command_has_help(command: list[str]) -> None:
    out, _ = run(*command, "--help")
    assert "Usage:" in out
    assert "--help" in out


def test_explain_marks_words_and_adds_up() -> None:
    out, _ = run("explain", "You are a pathetic liar.", "--labels", "abuse")
    assert out.startswith(("abuse 0.9", "abuse 1.000"))
    assert "pathetic +" in out
    data = json.loads(run("explain", "-", "--json", stdin=b"You are a pathetic liar.\n")[0])
    for label, total in data["decision"].items():
        weights = sum(span["weight"] for span in data["spans"] if span["label"] == label)
        assert abs(data["intercept"][label] + weights - total) < 1e-9


def test_the_passport() -> None:
    out, _ = run("model")
    manifest = json.loads(run("model", "--json")[0])
    assert manifest["model_id"] in out
    assert "trained on" in out
    assert f"scoring   {'pure path' if kernel.MISSING else 'compiled kernel'}" in out


def test_a_page_is_extracted_and_scored(news_page: Path, tmp_path: Path) -> None:
    out, _ = run("extract", news_page)
    comments = records(out)
    assert len(comments) == 13
    assert comments[0]["author"] == "JKF"
    assert comments[1]["parent_id"] == comments[0]["id"]
    scored, _ = run("score", news_page)
    ranked = records(scored)
    assert len(ranked) == 13
    by_incitement = sorted(ranked, key=lambda record: -record["scores"]["incitement"])  # type: ignore[index]
    assert "bear arms and storm" in str(by_incitement[0]["text"])
    assert by_incitement[0]["verdict"]["action"] != "allow"  # type: ignore[index]
    assert all(record["verdict"]["reasons"] for record in ranked)  # type: ignore[index]


def test_a_closed_pipe_is_silent(tmp_path: Path) -> None:
    many = tmp_path / "many.txt"
    many.write_text("a line of words\n" * 20_000)
    command = f"{sys.executable} -c 'from moderation.cli import main; main()' score {many} | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""
    status = subprocess.run(["bash", "-c", command + "; echo ${PIPESTATUS[0]}"], capture_output=True, text=True)
    assert status.stdout.splitlines()[-1] == "141"


def test_memory_does_not_grow_with_the_input(tmp_path: Path) -> None:
    program = (
        "import resource, sys\nfrom moderation.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n"
        "    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)\n"
    )

    def peak(rows: int) -> int:
        path = tmp_path / f"{rows}.jsonl"
        path.write_text(
            "".join(json.dumps({"id": k, "text": f"comment {k % 97} and words"}) + "\n" for k in range(rows))
        )
        arguments = ["score", str(path), "-o", str(tmp_path / "out.jsonl")]
        done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
        return int(done.stderr.split()[-1])

    small, large = peak(2_000), peak(40_000)
    assert large < small + 20_000  # kilobytes; the larger file alone has 2 MB of rows in 40 batches
