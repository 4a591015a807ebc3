"""What ``python -m training`` says of folders, libraries and data that do not fit: one sentence, before any work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from moderation import Scorer
from tests.conftest import ROOT
from tests.test_training import write_datasets
from training import cli
from training.perspective_map import BEGIN, END

BARE = {**os.environ, "PYTHONPATH": str(ROOT)}
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line in an empty folder, without corpora, and return its exit code and what it says of errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MODERATION_CORPORA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def call(*arguments: str | Path) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["training", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(str(ended.value.code)), capsys.readouterr().err

    return call


@pytest.fixture
def datasets(tmp_path: Path) -> Path:
    """A small data set of our own, beside the registry of this checkout."""
    folder = write_datasets(tmp_path / "datasets")
    (folder / "registry.toml").write_bytes((ROOT / "datasets" / "registry.toml").read_bytes())
    return folder


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let everything fail that takes long."""

    def work(*_: object, **__: object) -> None:
        raise AssertionError("work was done before the places were tried")

    for name in ("training.assess.gather", "training.train.gather", "training.perspective_map.fit_map"):
        monkeypatch.setattr(name, work)
    monkeypatch.setattr(Scorer, "load", work)


# ---- libraries ----


@pytest.mark.parametrize(
    ("library", "arguments"),
    [
        ("sklearn", ["train", "-r", "R"]),
        ("sklearn", ["evaluate", "-o", "R"]),
        ("joblib", ["crossval"]),
        ("tqdm", ["curve"]),
        ("scipy", ["perspective-map"]),
    ],
)
def test_without_the_extra_a_command_says_what_to_install(library: str, arguments: list[str], tmp_path: Path) -> None:
    program = f"import sys; sys.modules['{library}'] = None\nfrom training.cli import main; main()"
    line = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(line, cwd=tmp_path, env=BARE, capture_output=True, text=True, timeout=60)
    assert done.stderr == f"error: training and measuring need {library}: pip install -e '.[training]' in a clone\n"
    assert done.returncode == 4


def test_checking_needs_no_extra(datasets: Path) -> None:
    hidden = "".join(f"sys.modules['{library}'] = None\n" for library in cli.LIBRARIES)
    program = f"import sys\n{hidden}from training.cli import main; main()"
    line = [sys.executable, "-c", program, "check", "--datasets", datasets]
    done = subprocess.run(line, cwd=datasets, env=BARE, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""


# ---- places to write to ----


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("place", ["taken", "taken/below"])
@pytest.mark.parametrize(
    ("option", "arguments"),
    [("--run", ["train", "--run"]), ("--cache", ["train", "-r", "R", "--cache"]), ("--output", ["evaluate", "-o"])],
)
def test_a_folder_is_tried_before_any_work(
    option: str, arguments: list[str], place: str, run: Run, datasets: Path, tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("mine")
    code, said = run(*arguments, place, "--datasets", datasets)
    assert code == 2
    assert said.startswith(f"error: {option}: expected a folder that can be written to, got {place}: ")
    assert said.count("\n") == 1
    assert (tmp_path / "taken").read_text() == "mine"


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "none/map.json"], "--output: expected a file that can be written, got none/map.json: No such file"),
        (["-o", "."], "--output: expected a file that can be written, got .: Is a directory"),
        (["-o", "map.json", "--page", "none.md"], "none.md: cannot be read: No such file"),
        (["-o", "map.json", "--page", "bare.md"], f"bare.md: expected the marks {BEGIN} and {END}"),
        (["-o", "map.json", "--page", "half.md"], f"half.md: expected the marks {BEGIN} and {END}"),
        (["-o", "map.json", "--page", "latin.md"], "latin.md: cannot be read: not UTF-8"),
        (["-o", "map.json", "--corpora", "none"], "--corpora: none: expected a folder with NAME.jsonl.gz"),
        (["-o", "map.json"], "perspective_scores.jsonl.gz: not here"),
    ],
)
def test_the_map_and_its_page_are_tried_before_any_work(
    arguments: list[str], message: str, run: Run, datasets: Path, tmp_path: Path
) -> None:
    (tmp_path / "bare.md").write_text("# A page\n")
    (tmp_path / "half.md").write_text(f"{END}\n{BEGIN}\n")
    (tmp_path / "latin.md").write_bytes(b"\xe9")
    code, said = run("perspective-map", *arguments, "--datasets", datasets)
    assert (code, said.count("\n")) == (2, 1)
    assert message in said
    assert not (tmp_path / "map.json").exists()


@pytest.mark.parametrize("place", ["taken", "taken/below"])
def test_fetching_tries_its_folder_first(place: str, run: Run, datasets: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    code, said = run("fetch", "hatecheck", "--corpora", place, "--datasets", datasets)
    assert (code, said.count("\n")) == (2, 1)
    assert said.startswith(f"error: folder of the corpora: expected a folder that can be written to, got {place}: ")


# ---- corpora ----


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize(("place", "got"), [("none", "no folder"), ("bare", "none in it")])
@pytest.mark.parametrize("arguments", [["train", "-r", "R"], ["evaluate", "-o", "R"], ["crossval"], ["curve"]])
def test_a_named_folder_must_hold_corpora(
    arguments: list[str], place: str, got: str, run: Run, datasets: Path, tmp_path: Path
) -> None:
    (tmp_path / "bare").mkdir()
    code, said = run(*arguments, "--corpora", place, "--datasets", datasets)
    assert code == 2
    assert said == f"error: --corpora: {place}: expected a folder with NAME.jsonl.gz of the registry, got {got}\n"
    assert not (tmp_path / "R").exists()


def test_training_says_which_corpora_there_are(
    run: Run, datasets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "hatecheck.jsonl.gz").touch()
    monkeypatch.setattr("training.train.train", lambda *_, **__: {"model_id": "m"})
    code, said = run("train", "-r", "R", "--corpora", "some", "--datasets", datasets)
    assert (code, said.count("\n")) == (0, 1)
    assert said.startswith("1 corpora in some; missing (open): ")
    missing = said.rpartition(": ")[2].strip().split(", ")
    assert "civil" in " ".join(missing)
    assert "hatecheck" not in missing


# ---- our own data ----


@pytest.mark.parametrize("command", ["train", "check"])
@pytest.mark.parametrize(
    ("held_back", "message"),
    [
        (None, "held_back.toml: no such file"),
        ("cases = []\n", "held_back.toml: voices: expected a list of names, got None"),
        ('cases = "town"\nvoices = []\n', "held_back.toml: cases: expected a list of names, got 'town'"),
        ("cases = [\n", "held_back.toml: not TOML: "),
    ],
)
def test_what_is_held_back_must_be_said(
    held_back: str | None, message: str, command: str, run: Run, datasets: Path
) -> None:
    path = datasets / "authored" / "held_back.toml"
    path.unlink()
    if held_back is not None:
        path.write_text(held_back)
    code, said = run(command, *(["-r", "R"] if command == "train" else []), "--datasets", datasets)
    assert code == 2
    assert message in said.splitlines()[-1]


def test_what_is_held_back_must_be_there(run: Run, datasets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (datasets / "authored" / "held_back.toml").write_text('cases = ["town", "twon"]\nvoices = ["angry", "calm"]\n')
    strangers = ["held_back.toml: case 'twon': no comment has it", "held_back.toml: voice 'angry': no comment has it"]
    code, said = run("train", "-r", "R", "--datasets", datasets)
    assert code == 2
    assert said.splitlines()[-1] == f"error: {'; '.join(strangers)}"
    lines: list[str] = []
    monkeypatch.setattr(cli.typer, "echo", lines.append)
    assert run("check", "--datasets", datasets)[0] == 1
    assert lines[-2:] == strangers


@pytest.mark.parametrize("command", ["train", "evaluate", "crossval", "curve"])
def test_without_any_comment(command: str, run: Run, datasets: Path) -> None:
    (datasets / "authored" / "town.jsonl").unlink()
    (datasets / "authored" / "held_back.toml").write_text("cases = []\nvoices = []\n")
    output = {"train": ["-r", "R"], "evaluate": ["-o", "R"]}.get(command, [])
    code, said = run(command, *output, "--datasets", datasets)
    assert code == 2
    assert said.splitlines()[-1].startswith(f"error: expected comments in {datasets / 'authored'} or corpora in ")


def keep(datasets: Path, wanted: Callable[[dict[str, object]], bool]) -> None:
    """Keep some of our own comments and hold nothing back."""
    path = datasets / "authored" / "town.jsonl"
    lines = [line for line in path.read_text().splitlines() if wanted(json.loads(line))]
    path.write_text("\n".join(lines) + "\n")
    (datasets / "authored" / "held_back.toml").write_text("cases = []\nvoices = []\n")


def test_too_few_comments_to_train_on(run: Run, datasets: Path) -> None:
    keep(datasets, lambda row: int(str(row["id"]).removeprefix("c-")) < 30)
    code, said = run("train", "-r", "R", "--datasets", datasets)
    assert code == 2
    assert "error: expected a label that 20 comments to train on have and 20 lack" in said.splitlines()[-1]
    code, said = run("crossval", "--datasets", datasets)
    assert (code, said.count("\n")) == (2, 1)


def test_a_curve_needs_comments_that_grow(run: Run, datasets: Path) -> None:
    code, said = run("curve", "--grow", "public", "--datasets", datasets)
    assert code == 2
    assert said == "error: incitement: expected comments of public corpora to train on that know the label, got none\n"


def test_measuring_needs_something_to_measure(run: Run, datasets: Path) -> None:
    keep(datasets, lambda row: True)
    code, said = run("evaluate", "-o", "R", "--datasets", datasets)
    assert (code, said.count("\n")) == (2, 1)
    assert said.startswith("error: nothing to measure: expected a label with at least 5 held-out rows of each kind in ")
