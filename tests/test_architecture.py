"""The house: imports point down, without circles, and what is heavy stays out of scoring."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import moderation
from tests.conftest import ROOT

# The floors of `moderation`, lowest first. A file imports only from floors below its own, or from its own where the
# file stands further left.
FLOORS = [
    ["moderation.errors", "moderation.text", "moderation.comment", "moderation.kernel"],
    ["moderation.features", "moderation.index"],
    ["moderation.bundle", "moderation.formats", "moderation.formats._html_page", "moderation.formats._text_page",
     "moderation.formats.pages", "moderation.formats.rows", "moderation.passport"],
    ["moderation.queue.columns", "moderation.queue.schema", "moderation.queue.migrations",
     "moderation.queue.migrations.guards", "moderation.queue.migrations.versions",
     "moderation.queue.migrations.versions.v0001_initial", "moderation.queue.migrations.env",
     "moderation.queue.database", "moderation.queue.outcome", "moderation.queue.values", "moderation.queue.rows",
     "moderation.queue.listing", "moderation.queue.outbox", "moderation.queue.reasons",
     "moderation.queue.arrivals", "moderation.queue.desk",
     "moderation.queue.bulk", "moderation.queue.appeals", "moderation.queue.people", "moderation.queue.statistics",
     "moderation.queue.exports", "moderation.queue.retention", "moderation.queue.webhooks", "moderation.queue.store",
     "moderation.queue"],
    ["moderation.paths", "moderation.explain", "moderation.scorer", "moderation.policy"],
    ["moderation.batch", "moderation.terminal"],
    ["moderation.server.settings", "moderation.server.answers", "moderation.server.faults", "moderation.server.limits",
     "moderation.server.body", "moderation.server.keys", "moderation.server.logs", "moderation.server.metrics",
     "moderation.server.feedback", "moderation.server.score_map", "moderation.server.sentences",
     "moderation.server.language", "moderation.server._attributes", "moderation.server.service",
     "moderation.server.endpoint", "moderation.server.observe"],
    ["moderation.server.google", "moderation.server.perspective", "moderation.server.batch_multipart",
     "moderation.server.discovery", "moderation.server.openai", "moderation.server.coral", "moderation.server.native",
     "moderation.server.operations", "moderation.server.openapi", "moderation.server.pages", "moderation.server.intake",
     "moderation.server.review.words", "moderation.server.review.marks", "moderation.server.review.charts",
     "moderation.server.review.choice", "moderation.server.review.room", "moderation.server.review.work",
     "moderation.server.review.browse", "moderation.server.review.bulk", "moderation.server.review.appeals",
     "moderation.server.review.senior", "moderation.server.review.people", "moderation.server.review.account",
     "moderation.server.review"],
    ["moderation.server.app", "moderation.server", "moderation.server.protocol", "moderation.server.run"],
    ["moderation", "moderation.cli.scoring", "moderation.cli.serving", "moderation.cli"],
]  # fmt: skip
RANK = {name: rank for rank, name in enumerate(name for floor in FLOORS for name in floor)}

SCORING = {
    f"moderation.{name}"
    for name in ("scorer", "explain", "paths", "policy", "bundle", "features", "index", "kernel", "text")
}


def modules(package: str) -> dict[str, Path]:
    """Return the modules of a package by their dotted names."""
    found = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path) -> set[str]:
    """Return all modules that a file imports, also inside functions and for type checking."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = str(node.module)
            nested = {f"{module}.{alias.name}" for alias in node.names}
            known = nested & (modules("moderation").keys() | modules("training").keys())
            found |= known or {module}
    return found


def test_every_module_has_its_floor() -> None:
    assert set(modules("moderation")) <= set(RANK)


@pytest.mark.parametrize("name", sorted(modules("moderation")))
def test_imports_point_down(name: str) -> None:
    for target in imports(modules("moderation")[name]):
        root = target.split(".")[0]
        assert root != "training", f"{name} imports {target}"
        if root == "moderation":
            assert RANK[target] < RANK[name], f"{name} imports {target}, which is not below it"


@pytest.mark.parametrize("name", sorted(modules("training")))
def test_training_uses_the_lower_half(name: str) -> None:
    upper = ("moderation.cli", "moderation.batch", "moderation.terminal", "moderation.queue", "moderation.server")
    assert not [
        target
        for target in imports(modules("training")[name])
        if f"{target}.".startswith(tuple(f"{room}." for room in upper))
    ]


def test_training_has_no_circles() -> None:
    graph = {name: imports(path) & modules("training").keys() for name, path in modules("training").items()}
    while graph:
        leaves = {name for name, targets in graph.items() if not targets & graph.keys()}
        assert leaves, f"a circle among {sorted(graph)}"
        graph = {name: targets for name, targets in graph.items() if name not in leaves}


@pytest.mark.parametrize("name", sorted(SCORING))
def test_scoring_needs_numpy_alone(name: str) -> None:
    third_party = {target.split(".")[0] for target in imports(modules("moderation")[name])}
    assert third_party - set(sys.stdlib_module_names) <= {"numpy", "moderation"}


def test_importing_the_package_is_light() -> None:
    program = "import sys, moderation; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    heavy = {
        "sklearn",
        "scipy",
        "joblib",
        "typer",
        "click",
        "rich",
        "tqdm",
        "selectolax",
        "training",
        "starlette",
        "uvicorn",
        "msgspec",
        "anyio",
        "prometheus_client",
    }
    assert not heavy & set(done.stdout.split())


def test_the_public_surface_is_what_it_says() -> None:
    assert moderation.__all__ == sorted(moderation.__all__)
    assert all(hasattr(moderation, name) for name in moderation.__all__)


def test_the_tree_of_errors_is_drawn() -> None:
    from moderation import errors

    kinds = {name for name, kind in vars(errors).items() if isinstance(kind, type)}
    drawn = str(errors.__doc__)
    assert all(name in drawn for name in kinds)
    assert all(issubclass(getattr(errors, name), errors.ModerationError) for name in kinds)


def test_datasets_hold_no_code() -> None:
    assert not list((ROOT / "datasets").rglob("*.py"))
