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
# file or room stands further left. A room (a package named with a star) is ordered inside by having no circles.
FLOORS = [
    [
        "moderation.errors",
        "moderation.markup",
        "moderation.seen",
        "moderation.text",
        "moderation.comment",
        "moderation.kernel",
    ],
    ["moderation.features", "moderation.index", "moderation.emphasis"],
    ["moderation.bundle", "moderation.formats.*", "moderation.passport", "moderation.queue.*"],
    ["moderation.paths", "moderation.explain", "moderation.scorer", "moderation.policy"],
    [
        "moderation.batch",
        "moderation.archive",
        "moderation.output",
        "moderation.partial",
        "moderation.terminal",
    ],
    ["moderation.intake", "moderation.server.*"],
    ["moderation", "moderation.cli.*"],
]
RANK = {name: rank for rank, name in enumerate(name for floor in FLOORS for name in floor)}


def room(name: str) -> str:
    """Return the entry of `FLOORS` that a module belongs to; its own name when it has none."""
    starred = [entry for entry in RANK if entry.endswith(".*") and f"{name}.".startswith(entry[:-1])]
    return name if name in RANK else (starred or [name])[0]


SCORING = {
    f"moderation.{name}"
    for name in (
        "scorer",
        "explain",
        "paths",
        "policy",
        "bundle",
        "features",
        "emphasis",
        "index",
        "kernel",
        "markup",
        "text",
    )
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
    assert {room(name) for name in modules("moderation")} <= set(RANK)


@pytest.mark.parametrize("name", sorted(modules("moderation")))
def test_imports_point_down(name: str) -> None:
    for target in imports(modules("moderation")[name]):
        root = target.split(".")[0]
        assert root != "training", f"{name} imports {target}"
        if root == "moderation" and room(target) != room(name):
            assert RANK[room(target)] < RANK[room(name)], f"{name} imports {target}, which is not below it"


@pytest.mark.parametrize("name", sorted(modules("training")))
def test_training_uses_the_lower_half(name: str) -> None:
    upper = ("moderation.cli", "moderation.batch", "moderation.archive", "moderation.output", "moderation.partial",
             "moderation.terminal", "moderation.queue", "moderation.server")  # fmt: skip
    assert not [
        target
        for target in imports(modules("training")[name])
        if f"{target}.".startswith(tuple(f"{room}." for room in upper))
    ]


@pytest.mark.parametrize("package", ["moderation", "training"])
def test_there_are_no_circles(package: str) -> None:
    graph = {name: imports(path) & modules(package).keys() for name, path in modules(package).items()}
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
