"""``python -m training``: fetch corpora, train, evaluate."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from moderation.errors import ModerationError

app = typer.Typer(
    name="training",
    help="Fetch corpora, train a model, measure it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

CorporaOption = Annotated[
    Path | None,
    typer.Option("--corpora", envvar="MODERATION_CORPORA", help="Folder with NAME.jsonl.gz files; default: the cache."),
]
DatasetsOption = Annotated[Path, typer.Option("--datasets", help="Folder with registry.toml, authored/, annotations/.")]


@app.command()
def fetch(
    names: Annotated[list[str], typer.Argument(help="Corpora of the registry.")],
    corpora: CorporaOption = None,
    datasets: DatasetsOption = Path("datasets"),
) -> None:
    """Download corpora that have a stable public address, check their checksums and bring them to one form."""
    from training.corpora import find_corpora, load_registry
    from training.fetch import fetch as fetch_corpora

    registry = load_registry(datasets / "registry.toml")
    fetch_corpora(names, find_corpora(corpora), registry=registry, progress=True)


@app.command()
def train(
    run: Annotated[Path, typer.Option("--run", "-r", help="Folder to write the run to.")],
    corpora: CorporaOption = None,
    datasets: DatasetsOption = Path("datasets"),
    name: Annotated[str, typer.Option("--name", help="First part of the model's id.")] = "en-1",
    tiers: Annotated[str, typer.Option("--tiers", help="Licence tiers to train on, separated by commas.")] = "open",
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Processes.")] = 2,
    cache: Annotated[Path, typer.Option("--cache", help="Folder for features already counted.")] = Path(".cache"),
) -> None:
    """Train on the corpora and our own comments; write bundle, metrics, model card and scikit-learn pipeline."""
    from training.corpora import find_corpora, load_registry
    from training.train import TrainSettings
    from training.train import train as train_model

    settings = TrainSettings(name=name, tiers=tuple(tiers.split(",")))
    registry = load_registry(datasets / "registry.toml")
    found = find_corpora(corpora)
    metrics = train_model(registry, found, datasets, run, settings, jobs=jobs, progress=True, cache=cache)
    typer.echo(f"{metrics['model_id']} written to {run}")


def main() -> None:
    """Run the command line; an error of ours becomes one sentence and its exit code."""
    try:
        app()
    except ModerationError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
