"""Where the command line writes to: files, pipes, links and full disks."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from moderation.formats.packing import open_plain
from tests.conftest import ROOT
from tests.test_cli import SAMPLE, run


@pytest.mark.parametrize("to", ["jsonl", "csv", "table"])
def test_an_input_is_not_written_over(to: str, tmp_path: Path) -> None:
    """What cannot be read would be lost: a broken row comes out as an error without its text."""
    path, link = tmp_path / "in.jsonl", tmp_path / "link.jsonl"
    path.write_text('{"text": "a"}\n{"text": "precious\n')
    link.symlink_to(path)
    for output in (path, link):
        _, err = run("score", SAMPLE, path, "--to", to, "-o", output, code=2)
        assert err == f"error: --output: {output} is an input, too, and would be written over; name another file\n"
    assert "precious" in path.read_text()


def test_output_to_a_pipe_and_with_the_old_permissions(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE) as reader:
        run("score", "-o", tmp_path / "pipe", stdin=b"hello\n")
        assert b'"text":"hello"' in reader.communicate()[0]
    private = tmp_path / "private.jsonl"
    private.touch(mode=0o600)
    run("score", "-o", private, stdin=b"hello\n")
    assert private.stat().st_mode & 0o777 == 0o600


def in_bash(command: str, *, code: int = 0, cwd: Path | None = None) -> tuple[str, str]:
    """Run a line of bash in which ``moderation`` is the program, and return what it printed."""
    program = f"moderation() {{ {sys.executable} -W error -c 'from moderation.cli import main; main()' \"$@\"; }}\n"
    done = subprocess.run(["bash", "-c", program + command], capture_output=True, text=True, cwd=cwd)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="wants names in /dev")


@on_linux
@pytest.mark.parametrize("more", ["", "--to parquet", "--to table"])
def test_output_to_a_pipe_by_its_name_in_dev(more: str) -> None:
    plain, _ = in_bash(f"moderation score {SAMPLE} {more or '--to jsonl'} | base64")
    for command in ("-o /dev/stdout | base64", "-o >(base64) | cat"):
        out, _ = in_bash(f"moderation score {SAMPLE} {more} {command}")
        assert out == plain


@on_linux
def test_output_goes_where_a_link_points(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "out.csv").symlink_to(tmp_path / "real" / "scored")
    run("score", SAMPLE, "-o", "out.csv", cwd=tmp_path)
    assert (tmp_path / "out.csv").is_symlink()
    assert (tmp_path / "real" / "scored").read_text().startswith("id,")


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("comments.csv.jsonl", b"{"),
        ("comments.parquet.csv.gz", b"id,"),
        ("comments.csv.parquet", b"PAR1"),
        ("2026.csv.d", b"{"),
    ],
)
def test_the_last_ending_says_the_form(name: str, head: bytes, tmp_path: Path) -> None:
    run("score", "-o", tmp_path / name, stdin=b"hello\n")
    data = (tmp_path / name).read_bytes()
    found = gzip.decompress(data) if name.endswith(".gz") else data
    assert found.startswith(head)


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("out.CSV", b"id,"),
        ("out.csv.GZ", b"id,"),
        ("out.Csv.gz", b"id,"),
        ("out.JSONL.Zst", b"{"),
        ("out.PARQUET", b"PAR1"),
        ("out", b"{"),
        ("out.json", b"{"),
        ("out.2026", b"{"),
        (".csv", b"{"),
    ],
)
def test_the_case_of_an_ending_does_not_matter(name: str, head: bytes, tmp_path: Path) -> None:
    run("score", "-o", name, stdin=b"hello\n", cwd=tmp_path)
    data = (tmp_path / name).read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert data.startswith({".gz": b"\x1f\x8b", ".zst": b"\x28\xb5\x2f\xfd"}.get(Path(name).suffix.lower(), head))
    assert open_plain(io.BytesIO(data)).read(len(head)) == head


@pytest.mark.parametrize("name", ["out.tsv", "out.TSV.gz", "out.html", "out.xlsx", "out.ods"])
def test_a_form_that_cannot_be_written_is_refused(name: str, tmp_path: Path) -> None:
    _, err = run("score", "-o", name, stdin=b"hello\n", cwd=tmp_path, code=2)
    ending = name.lower().removesuffix(".gz").removeprefix("out")
    allowed = "allowed are .jsonl, .csv and .parquet, each also with .gz or .zst"
    assert err == f"error: --output: {name}: {ending} cannot be written; {allowed}. --to says the form of any name\n"
    assert not list(tmp_path.iterdir())
    run("score", "-o", name, "--to", "csv", stdin=b"hello\n", cwd=tmp_path)


@pytest.mark.parametrize("name", ["out.jsonl.bz2", "out.csv.XZ", "out.zip"])
@pytest.mark.parametrize("command", ["score", "score --to csv", "score --sort abuse", "extract"])
def test_a_packing_that_cannot_be_written_is_refused(name: str, command: str, tmp_path: Path) -> None:
    page = ROOT / "tests" / "pages" / "orchard.html"
    _, err = run(*command.split(), page, "-o", name, cwd=tmp_path, code=2)
    ending = Path(name).suffix.lower()
    assert err == f"error: {name}: {ending} cannot be written; files are packed as .gz or .zst\n"
    assert not list(tmp_path.iterdir())


def test_a_hyphen_is_standard_output(tmp_path: Path) -> None:
    assert run("score", SAMPLE, "-o", "-", cwd=tmp_path) == run("score", SAMPLE)
    assert run("score", SAMPLE, "-o", "-", "--to", "table", cwd=tmp_path) == run("score", SAMPLE, "--to", "table")
    page = ROOT / "tests" / "pages" / "orchard.html"
    assert run("extract", page, "--output", "-", cwd=tmp_path) == run("extract", page)
    assert not list(tmp_path.iterdir())


@on_linux
@pytest.mark.parametrize("to", ["jsonl", "csv", "parquet", "table"])
def test_a_full_disk_is_one_sentence(to: str) -> None:
    command = f"moderation score {SAMPLE} --to {to}"
    _, err = in_bash(f"{command} -o /dev/full", code=2)
    assert err == "error: /dev/full: cannot be written: No space left on device\n"
    _, err = in_bash(f"{command} > /dev/full", code=2)
    assert err == "error: standard output: cannot be written: No space left on device\n"


@on_linux
@pytest.mark.parametrize(
    "command",
    ["explain hello", "explain hello --json", "model", "extract PAGE", "--version", "queue status -d queue.db"],
)
def test_a_full_standard_output_is_one_sentence(command: str, tmp_path: Path) -> None:
    page = ROOT / "tests" / "pages" / "orchard.html"
    if "queue.db" in command:
        run("queue", "import", SAMPLE, "--site", "x", "-d", tmp_path / "queue.db")
    _, err = in_bash(f"moderation {command.replace('PAGE', str(page))} > /dev/full", code=2, cwd=tmp_path)
    assert err == "error: standard output: cannot be written: No space left on device\n"


@on_linux
@pytest.mark.parametrize("command", ["explain hello", "model", "extract PAGE", "score PAGE", "score PAGE --to table"])
def test_a_closed_standard_output_is_one_sentence(command: str) -> None:
    page = ROOT / "tests" / "pages" / "orchard.html"
    _, err = in_bash(f"moderation {command.replace('PAGE', str(page))} >&-", code=2)
    assert err == "error: standard output is closed\n"


@on_linux
@pytest.mark.parametrize("output", ["out.jsonl", "out.csv.gz", "out.parquet --sort abuse", "out.txt --to table"])
def test_a_disk_that_fills_up_is_one_sentence(output: str, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("".join(f"comment {os.urandom(30).hex()}\n" for _ in range(500)))
    _, err = in_bash(f"ulimit -f 4; moderation score in.txt -o {output}", code=2, cwd=tmp_path)
    # The one that keeps lines for a while, or for sorting, may be the first that does not fit.
    assert err.startswith((f"error: {tmp_path / output.split()[0]}", "error: temporary file in "))
    assert err.endswith(": cannot be written: File too large\n")
    assert not (tmp_path / output.split()[0]).exists()


def test_a_name_that_is_too_long_is_one_sentence(tmp_path: Path) -> None:
    for name in ("x" * 300, f"{'x' * 300}.csv"):
        _, err = run("score", "-o", name, stdin=b"hello\n", cwd=tmp_path, code=2)
        assert "cannot be written: File name too long" in err
