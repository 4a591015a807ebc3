"""The documentation is kept true: its programs run, it names every option, its figures are the model's."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from moderation import Policy
from moderation.bundle import load_bundle
from moderation.cli import app
from moderation.errors import ModerationError
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDES = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md")))


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_python_runs() -> None:
    (program,) = blocks("python")
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "'incitement', 'abuse'" in done.stdout


def test_the_policy_is_one() -> None:
    (source,) = blocks("toml")
    assert Policy.parse(source).id == tomllib.loads(source)["id"]


PAGE = """<html><head><script type="application/ld+json">{"@type": "NewsArticle", "headline": "Bridge shut",
"comment": [{"@type": "Comment", "@id": "c1", "text": "You idiot."}, {"@type": "Comment", "@id": "c2", "text": "Fine."}]}
</script></head><body></body></html>"""


@pytest.fixture
def visitor(tmp_path: Path) -> Path:
    """A folder with the files that the README's commands speak of."""
    (tmp_path / "comments.jsonl").write_text('{"id": 1, "text": "You idiot."}\n')
    (tmp_path / "archive.jsonl").write_text('{"id": 1, "text": "You idiot."}\n' * 20)
    (tmp_path / "comments.csv").write_text("id,body\n1,Hello there\n")
    (tmp_path / "comments.txt").write_text("You pathetic idiot.\nA fine day.\n")
    (tmp_path / "saved-page.html").write_text(PAGE)
    return tmp_path


SHELL = [
    line for block in blocks("sh") for line in block.splitlines() if re.search(r"(^|\| )moderation (?!serve)", line)
]


@pytest.mark.parametrize("line", SHELL, ids=[shlex.split(line, comments=True)[1] for line in SHELL])
def test_the_shell_lines_run(line: str, visitor: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        line, shell=True, cwd=visitor, env=os.environ | {"PATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for block in blocks("sh")[:2]:
        _, target = block.split()
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def options() -> list[tuple[str, str]]:
    """Return every command of the shell, with its groups' names before it, and each of its options."""

    def of(group: Any, before: str) -> Iterator[tuple[str, str]]:
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                yield from of(command, f"{before}{name} ")
                continue
            names = [option for parameter in command.params for option in parameter.opts]
            yield from ((f"{before}{name}", option) for option in names if option.startswith("--"))

    return sorted({pair for pair in of(typer.main.get_command(app), "") if pair[1] != "--help"})


@pytest.mark.parametrize(("command", "option"), options())
def test_every_option_is_mentioned(command: str, option: str) -> None:
    assert f"moderation {command}" in README + GUIDES
    assert option in README + GUIDES


def test_every_exit_code_is_mentioned() -> None:
    def leaves(kind: type[ModerationError]) -> set[int]:
        return {kind.exit_code}.union(*(leaves(child) for child in kind.__subclasses__()))

    stated = re.search(r"Exit codes: (.*?)\n\n", README, re.DOTALL)
    assert stated is not None
    assert all(re.search(rf"\b{code} \w", stated.group(1)) for code in leaves(ModerationError) | {0})


def test_the_figures_are_the_shipped_models() -> None:
    metrics = load_bundle().manifest["metrics"]
    rows = re.findall(r"^\| `(\w+)`[^|]*\|\s*([.\d]*) ?\|[^|]*\|\s*([.\d]*) ?\|", README, re.MULTILINE)
    assert len(rows) >= 12
    for name, incitement, abuse in rows:
        for label, stated in (("incitement", incitement), ("abuse", abuse)):
            if stated:
                # The manifest keeps four digits, so the last of three may have been rounded twice.
                assert abs(float(stated) - metrics[name][label]) < 0.00055, f"{name}, {label}"


def test_links_lead_somewhere() -> None:
    folders = (ROOT / "docs").glob("*.md")
    for page in (ROOT / "README.md", ROOT / "training" / "README.md", ROOT / "datasets" / "README.md", *folders):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert target.startswith("https://") or (page.parent / target).exists(), f"{page.name}: {target}"
