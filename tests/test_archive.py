"""Archives from the shell: several processes, runs that were killed and go on, Parquet and zstd."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from moderation import Policy, Scorer
from moderation.archive import Setup, read_chunks, score_chunks
from moderation.batch import Request
from moderation.formats.packing import open_plain
from moderation.formats.rows import Fields
from tests.conftest import TEXTS
from tests.test_cli import SAMPLE, run

COMMAND = [sys.executable, "-c", "from moderation.cli import main; main()", "score"]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of some forty chunks, with some rows in error; it takes long enough to be killed in the middle."""
    path = tmp_path_factory.mktemp("archive") / "archive.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for k in range(30_000):
            text = f"{TEXTS[k % 6]} {k} " * 5
            row = json.dumps({"id": f"c{k}", "text": text, "padding": "x" * (k % 150)})
            file.write("nonsense\n" if k % 9_000 == 5 else row + "\n")
    return path


@pytest.fixture(scope="module")
def expected(archive: Path) -> bytes:
    """What a run in one go makes of the archive."""
    target = archive.with_name("expected.jsonl")
    run("score", archive, "-o", target, "--jobs", "1", code=1)
    return target.read_bytes()


def left_beside(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir() if path != target)


def test_every_row_comes_once_and_in_order(archive: Path, expected: bytes) -> None:
    rows = [json.loads(line) for line in expected.splitlines()]
    assert len(rows) == 30_000
    assert all(row["id"] == f"c{k}" if "id" in row else k % 9_000 == 5 for k, row in enumerate(rows))
    assert [row["error"]["line"] for row in rows if "error" in row] == list(range(6, 30_000, 9_000))


@pytest.mark.parametrize("jobs", ["2", "3"])
def test_processes_do_not_show(archive: Path, expected: bytes, jobs: str, tmp_path: Path) -> None:
    _, err = run("score", archive, "-o", tmp_path / "out.jsonl", "--jobs", jobs, code=1)
    assert (tmp_path / "out.jsonl").read_bytes() == expected
    assert "30,000 comments" in err
    assert left_beside(tmp_path / "out.jsonl") == []
    out, _ = run("score", archive, "--jobs", jobs, "--sort", "severity", code=1)
    assert sorted(out.encode().splitlines()) == sorted(expected.splitlines())


def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(3_000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("waited in vain")


def children(pid: int) -> list[int]:
    done = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True)
    return [int(word) for word in done.stdout.split()]


def is_alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("name", ["out.jsonl", "out.csv"])
def test_a_killed_run_goes_on(archive: Path, expected: bytes, jobs: str, name: str, tmp_path: Path) -> None:
    target, partial = tmp_path / name, tmp_path / f"{name}.partial"
    arguments = [str(archive), "-o", str(target), "--jobs", jobs]
    for size in (1, 4_000_000):
        with subprocess.Popen([*COMMAND, *arguments, "--resume"], stderr=subprocess.DEVNULL) as process:
            wait_for(lambda size=size: partial.exists() and partial.stat().st_size >= size)  # type: ignore[misc]
            workers = children(process.pid)
            process.send_signal(signal.SIGKILL)
        assert not target.exists()
        wait_for(lambda workers=workers: not any(map(is_alive, workers)))  # type: ignore[misc]
    with partial.open("ab") as file:
        file.write(b'{"id": "torn')
    _, err = run("score", *arguments, "--resume", code=1)
    assert "30,000 comments" in err
    if name == "out.csv":
        run("score", archive, "-o", tmp_path / "once.csv", "--jobs", "1", code=1)
        assert target.read_bytes() == (tmp_path / "once.csv").read_bytes()
    else:
        assert target.read_bytes() == expected
        assert left_beside(target) == []


def noted(target: Path) -> int:
    """How many chunks the journal of a run knows of."""
    journal = target.with_name(f"{target.name}.partial.journal")
    return journal.read_text().count("\n") - 1 if journal.exists() else 0


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_an_interrupt_while_processes_begin_is_told_once(archive: Path, tmp_path: Path) -> None:
    """As the keyboard sends it: to all processes of the run, those that are still importing too."""
    command = [*COMMAND, str(archive), "-o", str(tmp_path / "out.jsonl"), "--jobs", "2"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")

        def begun() -> bool:
            lines = (Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children.read_text().split())
            return any(b"spawn_main" in line for line in lines)

        wait_for(begun)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate()
    assert err == "interrupted: the same command with --resume goes on from here\n"


@pytest.fixture
def interrupted(archive: Path, tmp_path: Path) -> Path:
    """The target of a run that was interrupted from the keyboard after its first chunk."""
    target = tmp_path / "out.jsonl"
    command = [*COMMAND, str(archive), "-o", str(target), "--jobs", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        wait_for(lambda: noted(target) > 0)
        process.send_signal(signal.SIGINT)
        assert b"--resume goes on from here" in process.communicate()[1]
    return target


def test_what_the_disk_lost_is_scored_again(interrupted: Path, archive: Path, expected: bytes) -> None:
    # After a power failure the journal may know more than the partial file.
    partial = interrupted.with_name("out.jsonl.partial")
    data = bytearray(partial.read_bytes())
    data[len(data) // 2] ^= 1
    partial.write_bytes(data)
    run("score", archive, "-o", interrupted, "--resume", code=1)
    assert interrupted.read_bytes() == expected


@pytest.mark.parametrize("ending", ["", ".gz", ".zst"])
def test_no_comments_make_a_file_that_can_be_read(ending: str, tmp_path: Path) -> None:
    (tmp_path / "none.jsonl").touch()
    target = tmp_path / f"out.jsonl{ending}"
    run("score", tmp_path / "none.jsonl", "-o", target)
    with target.open("rb") as file, open_plain(file) as plain:
        assert plain.read() == b""
    assert bool(target.stat().st_size) == bool(ending)


@pytest.mark.parametrize("damaged", ['{"read": 3}', '{"read": 3, "size": -1, "written": 0, "totals": {}}', "{", "[]"])
def test_a_damaged_line_of_the_journal_ends_what_is_believed(
    damaged: str, interrupted: Path, archive: Path, expected: bytes
) -> None:
    with interrupted.with_name("out.jsonl.partial.journal").open("a") as journal:
        journal.write(damaged + "\n")
    run("score", archive, "-o", interrupted, "--resume", code=1)
    assert interrupted.read_bytes() == expected


def test_a_run_does_not_go_on_with_something_else(interrupted: Path, archive: Path, tmp_path: Path) -> None:
    _, err = run("score", archive, "-o", interrupted, "--resume", "--labels", "abuse", code=2)
    assert "other options, inputs or another model" in err
    other = tmp_path / "changed" / archive.name
    other.parent.mkdir()
    original = archive.read_bytes()
    try:
        archive.write_bytes(original.replace(b"c17", b"d17", 1))
        _, err = run("score", archive, "-o", interrupted, "--resume", code=2)
        assert "the input has changed since the interrupted run" in err
        archive.write_bytes(original[:1000])
        _, err = run("score", archive, "-o", interrupted, "--resume", code=2)
        assert "the input has changed" in err
        archive.write_bytes(b"")
        _, err = run("score", archive, "-o", interrupted, "--resume", code=2)
        assert "the input is shorter" in err
    finally:
        archive.write_bytes(original)
    assert interrupted.with_name("out.jsonl.partial").exists()


def test_without_resume_a_run_begins_anew(interrupted: Path, archive: Path, expected: bytes) -> None:
    run("score", archive, "-o", interrupted, code=1)
    assert interrupted.read_bytes() == expected
    assert left_beside(interrupted) == []


def test_two_runs_do_not_write_one_file(archive: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    os.mkfifo(tmp_path / "slow")
    with subprocess.Popen([*COMMAND, str(tmp_path / "slow"), "-f", "jsonl", "-o", str(target)]) as process:
        with (tmp_path / "slow").open("wb") as slow:
            slow.write(SAMPLE.read_bytes())
            slow.flush()
            wait_for(lambda: target.with_name("out.jsonl.partial").exists())
            _, err = run("score", SAMPLE, "-o", target, code=2)
            assert "another run is writing it" in err
        assert process.wait() == 0
    assert len(target.read_bytes().splitlines()) == len(SAMPLE.read_bytes().splitlines())


@pytest.mark.parametrize("more", [[], ["-o", "out.txt", "--to", "table"], ["-o", "out.jsonl", "--sort", "abuse"]])
def test_resume_says_where_it_does_not_work(more: list[str], tmp_path: Path) -> None:
    _, err = run("score", SAMPLE, "--resume", *more, code=2, cwd=tmp_path)
    assert "--resume: works with --output FILE as JSON lines, CSV or Parquet" in err


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_packed_in_and_out(archive: Path, expected: bytes, ending: str, tmp_path: Path) -> None:
    pack, unpack = (gzip.compress, gzip.decompress) if ending == ".gz" else (zstandard.compress, unzstd)
    source, target = tmp_path / f"in.jsonl{ending}", tmp_path / f"out.jsonl{ending}"
    data = archive.read_bytes()
    source.write_bytes(pack(data[:5_000_000]) + pack(data[5_000_000:]))
    run("score", source, "-o", target, code=1)
    assert unpack(target.read_bytes()) == expected.replace(b"/archive.jsonl", b"/archive.jsonl").replace(
        str(archive).encode(), str(source).encode()
    )
    run("score", SAMPLE, "-o", tmp_path / f"out.csv{ending}", "--to", "csv")
    assert b"score_abuse" in unpack((tmp_path / f"out.csv{ending}").read_bytes())


def unzstd(data: bytes) -> bytes:
    return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data), read_across_frames=True).read()


@pytest.mark.parametrize("damage", [lambda data: data[:-9], lambda data: data[:40] + b"\xff" * 40 + data[80:]])
def test_damaged_zstd_is_one_sentence(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    (tmp_path / "b.jsonl.zst").write_bytes(damage(zstandard.compress(SAMPLE.read_bytes())))
    _, err = run("score", "b.jsonl.zst", code=2, cwd=tmp_path)
    assert "error: b.jsonl.zst: damaged zstd stream" in err


def test_parquet_in_and_out(tmp_path: Path) -> None:
    from datetime import UTC, datetime

    rows = [
        {"id": k, "text": TEXTS[k % 6], "when": datetime(2026, 1, 1, tzinfo=UTC), "score": k / 7, "raw": b"\xff\x00",
         "tags": ["a", "b"], "spam": k % 2 == 0, "odd": 3 if k % 2 else None}
        for k in range(12_000)
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in.parquet")
    run("score", tmp_path / "in.parquet", "-o", tmp_path / "out.parquet")
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.num_rows == len(rows)
    assert table.column("id").to_pylist() == list(range(12_000))
    assert table.column("text").to_pylist() == [row["text"] for row in rows]
    kinds = {name: str(table.schema.field(name).type) for name in ("id", "score", "spam", "odd", "when", "tags", "raw")}
    assert kinds == {"id": "int64", "score": "double", "spam": "bool", "odd": "int64", "when": "string", "tags": "string",
                     "raw": "string"}  # fmt: skip
    assert table.column("when")[0].as_py() == "2026-01-01T00:00:00+00:00"
    assert set(table.column("action").to_pylist()) <= {"allow", "review", "hold"}
    out, _ = run("score", tmp_path / "in.parquet")
    probabilities = [json.loads(line)["scores"]["abuse"] for line in out.splitlines()]
    assert table.column("score_abuse").to_pylist() == probabilities


def test_a_parquet_column_of_mixed_kinds_becomes_text(tmp_path: Path) -> None:
    data = b'{"text": "a", "x": 1}\n{"text": "b", "x": "two"}\nbad\n{"text": "\\ud800", "x": 3.5, "y": 1}\n'
    run("score", "-f", "jsonl", "-o", tmp_path / "o.parquet", stdin=data, code=1)
    table = pq.read_table(tmp_path / "o.parquet")
    assert table.column("x").to_pylist() == ["1", "two", None, "3.5"]
    assert table.column("y").to_pylist() == [None, None, None, 1]
    assert table.column("error").to_pylist()[2].startswith("line 3: not JSON")
    out, _ = run("score", "-f", "jsonl", "--to", "csv", stdin=data, code=1)
    assert [row["x"] for row in csv.DictReader(io.StringIO(out))] == ["1", "two", "", "3.5"]


FINE = 1_767_225_600_123_456_789
"""A moment of 2026 in nanoseconds, which Python's own types cannot hold."""


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        # finer than a microsecond, beside one that is not
        ([FINE, FINE - 789], pa.timestamp("ns"), ["2026-01-01T00:00:00.123456789", "2026-01-01T00:00:00.123456"]),
        ([FINE], pa.timestamp("ns", "Europe/Berlin"), ["2026-01-01T00:00:00.123456789+00:00"]),
        ([1_500, 1_000], pa.duration("ns"), ["1500 nanoseconds", "0:00:00.000001"]),
        ([1_500], pa.time64("ns"), ["00:00:00.000001500"]),
        # after the year 9999, or before the year 1
        ([253_402_300_800_000, -(10**15)], pa.timestamp("ms"), ["10000-01-01T00:00:00.000", "-29719-04-05T22:13:20.000"]),
        ([253_402_300_800_000], pa.timestamp("ms", "UTC"), ["10000-01-01T00:00:00.000+00:00"]),
        ([2_932_897], pa.date32(), ["10000-01-01"]),
        ([-(1 << 63)], pa.timestamp("us"), [None]),
        # a zone that nobody knows
        ([0], pa.timestamp("ms", "Mars/Phobos"), ["1970-01-01T00:00:00.000+00:00"]),
        # inside other values
        ([[FINE, None]], pa.list_(pa.timestamp("ns")), [["2026-01-01T00:00:00.123456789", None]]),
        ([{"a": FINE, "b": 1}], pa.struct([("a", pa.timestamp("ns")), ("b", pa.int8())]),
         [{"a": "2026-01-01T00:00:00.123456789", "b": 1}]),
        ([[("k", FINE)]], pa.map_(pa.string(), pa.timestamp("ns")), [[["k", "2026-01-01T00:00:00.123456789"]]]),
    ],
)  # fmt: skip
def test_parquet_values_that_python_has_not(values: list[Any], kind: Any, expected: list[Any], tmp_path: Path) -> None:
    columns = {"id": list(range(len(values))), "text": ["hello"] * len(values), "x": pa.array(values, kind)}
    pq.write_table(pa.table(columns), tmp_path / "in.parquet", version="2.6")
    out, _ = run("score", tmp_path / "in.parquet")
    found = [json.loads(line) for line in out.splitlines()]
    assert [(row["id"], row["text"], row["x"]) for row in found] == [(k, "hello", x) for k, x in enumerate(expected)]
    run("score", tmp_path / "in.parquet", "-o", tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet").num_rows == len(values)


def test_parquet_text_that_is_not_utf_8(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"text": ["good day", "so long"], "naam": [1, 2]}), tmp_path / "in.parquet", compression="none"
    )
    data = (tmp_path / "in.parquet").read_bytes()
    (tmp_path / "in.parquet").write_bytes(data.replace(b"good day", b"good \xff\xff\xff"))
    out, _ = run("score", tmp_path / "in.parquet")
    assert [json.loads(line)["text"] for line in out.splitlines()] == ["good \\xff\\xff\\xff", "so long"]
    (tmp_path / "in.parquet").write_bytes(data.replace(b"naam", b"na\xffm"))
    _, err = run("score", tmp_path / "in.parquet", code=2)
    assert "in.parquet: not readable as Parquet: expected names of columns in UTF-8" in err


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 0, 2], [0, 2, 1]])
def test_whole_numbers_that_no_float_holds_stay_what_they_are(order: list[int], tmp_path: Path) -> None:
    numbers = [9_007_199_254_740_993, 1.5, 7]
    lines = [
        json.dumps({"text": "a", "x": numbers[k], "y": [-(1 << 63), 8, 7][k], "z": [1 << 53, 0.5, 7][k]}) for k in order
    ]
    run("score", "-f", "jsonl", "-o", tmp_path / "o.parquet", stdin="\n".join(lines).encode())
    table = pq.read_table(tmp_path / "o.parquet")
    assert table.column("x").to_pylist() == [["9007199254740993", "1.5", "7"][k] for k in order]
    assert table.column("y").to_pylist() == [[-(1 << 63), 8, 7][k] for k in order]
    assert table.column("z").to_pylist() == [[2.0**53, 0.5, 7.0][k] for k in order]


def test_a_parquet_column_whose_name_has_a_lone_surrogate(tmp_path: Path) -> None:
    data = b'{"text": "a", "n\\udcf6": 1}\n{"text": "b", "n\\udcf6": null}\n'
    run("score", "-f", "jsonl", "-o", tmp_path / "o.parquet", stdin=data)
    assert pq.read_table(tmp_path / "o.parquet").column("n\\udcf6").to_pylist() == [1, None]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"PAR1 is not enough", "not readable as Parquet"), (b"", "no column")],
)
def test_parquet_that_cannot_be_read(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    path.write_bytes(content)
    if not content:
        pq.write_table(pa.table({"a": [1]}), path)
    _, err = run("score", path, code=2)
    assert message in err
    _, err = run("score", "-f", "parquet", stdin=content, code=2)
    assert "error: standard input: " in err


@pytest.mark.parametrize("repeated", ["text", "n"])
def test_two_parquet_columns_of_one_name_are_refused(repeated: str, tmp_path: Path) -> None:
    columns = [pa.array(["nice"]), pa.array(["one"]), pa.array(["two"])]
    pq.write_table(pa.Table.from_arrays(columns, ["text", repeated, "n"]), tmp_path / "in.parquet")
    _, err = run("score", "in.parquet", "-o", "out.jsonl", cwd=tmp_path, code=2)
    assert err == f"error: in.parquet: two columns are named '{repeated}'; rename one of them\n"
    assert [path.name for path in tmp_path.iterdir()] == ["in.parquet"]


# ---- without the libraries ----


def run_without(library: str, *arguments: str | Path, cwd: Path) -> str:
    """Run `moderation score` where a library is not installed, and return what it says, after checking exit code 4."""
    program = f"import sys; sys.modules['{library}'] = None\nfrom moderation.cli import main; main()"
    line = [sys.executable, "-c", program, "score", *arguments]
    done = subprocess.run(line, cwd=cwd, capture_output=True, text=True, timeout=60)
    assert done.returncode == 4, done.stderr
    return done.stderr


needs_zstandard = pytest.mark.skipif(sys.version_info >= (3, 14), reason="Python has zstd itself")


@pytest.mark.parametrize(
    ("library", "output"),
    [
        ("pyarrow", ["-o", "out.parquet"]),
        ("pyarrow", ["-o", "out.parquet", "--sort", "abuse"]),
        ("pyarrow", ["-o", "out.parquet.gz"]),
        ("pyarrow", ["--to", "parquet"]),
        pytest.param("zstandard", ["-o", "out.jsonl.zst"], marks=needs_zstandard),
        pytest.param("zstandard", ["-o", "out.csv.zst"], marks=needs_zstandard),
        pytest.param("zstandard", ["-o", "out.txt.zst", "--to", "table"], marks=needs_zstandard),
    ],
)
def test_a_missing_library_for_the_output_is_told_before_the_first_row(
    library: str, output: list[str], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "never")  # opened, it would keep the run for ever
    err = run_without(library, "-f", "lines", "never", *output, cwd=tmp_path)
    assert err.startswith("error: Parquet files need" if library == "pyarrow" else "error: zstd files need")
    assert [path.name for path in tmp_path.iterdir()] == ["never"]


@pytest.mark.parametrize(
    ("library", "name", "data"),
    [
        ("pyarrow", "in.parquet", b"PAR1"),
        ("selectolax.lexbor", "in.html", b"<!doctype html><p>hello"),
        pytest.param("zstandard", "in.zst", zstandard.compress(b"hello"), marks=needs_zstandard),
    ],
)
def test_a_missing_library_for_an_input_leaves_no_files(library: str, name: str, data: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    more = [SAMPLE] if name == "in.parquet" else []
    run_without(library, *more, name, "-o", "out.jsonl", "--sort", "none", cwd=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]


# ---- lines are kept as they came in ----

KEYS = st.sampled_from(["id", "text", "comment", "x", "scores", "error", "label", "é"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


@given(st.lists(st.dictionaries(KEYS, JSON, max_size=5), max_size=4), st.booleans())
def test_every_field_is_kept(small_scorer: Scorer, rows: list[dict[str, Any]], spaced: bool) -> None:
    data = "".join(json.dumps(row, indent=None, separators=None if spaced else (",", ":")) + "\n" for row in rows)
    policy = Policy.parse('id = "p"\n[thresholds.abuse]\nreview = 0.5\n')
    setup = Setup(None, policy, Request())
    chunks = read_chunks(open_plain(io.BytesIO(data.encode())), "jsonl", Fields(), "in")
    lines = b"".join(part.lines for part in score_chunks(chunks, setup, scorer=small_scorer)).splitlines()
    assert len(lines) == len(rows)
    for row, line in zip(rows, lines, strict=True):
        record = json.loads(line)
        kept = {name: value for name, value in record.items() if name not in ("scores", "verdict", "model", "error")}
        assert kept.pop("input", {}) | kept == row
        text = next((row[name] for name in ("text", "comment") if name in row), None)
        assert ("scores" in record) == isinstance(text, str)
        if "scores" in record:
            score = small_scorer.score(text)
            assert record["scores"] == {label: round(value, 6) for label, value in score.probabilities.items()}
            expected = policy.decide(score, small_scorer.explain(text)).to_json()
            assert record["verdict"] | {"comment_id": "1"} == expected
