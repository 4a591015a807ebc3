"""The page about leaving Perspective: its programs run, its table is the map's."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from moderation.cli import app
from moderation.server._attributes import NEAREST
from moderation.server.score_map import SHIPPED
from tests.conftest import ROOT
from tests.server.running import Server
from tests.server.test_perspective_clients import node as node  # a fixture
from training.perspective_map import BEGIN, END, table, update_page

PATH = ROOT / "docs" / "leaving-perspective.md"
PAGE = PATH.read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:8080"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def scores(printed: str) -> dict[str, object]:
    """Read what a program printed: JSON, or Python's form of it."""
    data = json.loads(printed.replace("'", '"'))
    return dict(data.get("attributeScores", data))


@pytest.mark.parametrize("place", range(2))
def test_python(server: Server, place: int) -> None:
    program = blocks("python")[place].replace(ADDRESS, server.address)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert "TOXICITY" in scores(done.stdout), done.stderr


def test_curl(server: Server) -> None:
    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    (program,) = (block for block in blocks("sh") if block.startswith("curl"))
    done = subprocess.run(program.replace(ADDRESS, server.address), shell=True, capture_output=True, text=True)
    assert "TOXICITY" in scores(done.stdout), done.stderr


@pytest.mark.parametrize("place", range(3))
def test_javascript(server: Server, node: Path, place: int) -> None:
    program = blocks("js")[place].replace(ADDRESS, server.address)
    done = subprocess.run(["node", "-e", program], cwd=node, capture_output=True, text=True, timeout=60)
    assert "TOXICITY" in scores(done.stdout), done.stderr


def test_the_table_is_the_maps() -> None:
    _, _, rest = PAGE.partition(BEGIN)
    assert rest.partition(END)[0].strip() == table(json.loads(SHIPPED.read_text()))


def test_the_table_is_put_where_the_marks_are(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    update_page(tmp_path / "page.md", json.loads(SHIPPED.read_text()))
    text = (tmp_path / "page.md").read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "`TOXICITY`" in text
    assert "old" not in text
    (tmp_path / "page.md").write_text("no marks")
    with pytest.raises(ValueError, match="expected the marks"):
        update_page(tmp_path / "page.md", json.loads(SHIPPED.read_text()))


def test_options_and_names_are_there() -> None:
    group = typer.main.get_command(app)
    known = {option for parameter in group.commands["serve"].params for option in parameter.opts}  # type: ignore[attr-defined]
    named = set(re.findall(r"`(--[a-z-]+)", PAGE)) - {"--corpora"}
    assert named <= known
    assert all(name in PAGE for name in NEAREST)
