"""``python -m training``: fetch corpora, train, evaluate."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moderation.errors import InputError, MissingExtra, ModerationError

if TYPE_CHECKING:
    from training.corpora import Corpus

LIBRARIES = ("sklearn", "scipy", "joblib", "tqdm")
"""What the extra ``training`` brings, by the names they are imported by."""

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


class TrainingFailed(ModerationError):
    """The data do not give a model."""


@contextmanager
def _in_one_sentence() -> Iterator[None]:
    """Turn a `ValueError` of fitting, calibrating or choosing thresholds into an error of ours."""
    try:
        yield
    except ModerationError:
        raise
    except ValueError as error:
        raise TrainingFailed(" ".join(str(error).split())) from error


def _check_extra() -> None:
    """Raise `MissingExtra` where the libraries for training are not there."""
    for name in LIBRARIES:
        if find_spec(name) is None:
            raise MissingExtra(f"training and measuring need {name}: pip install -e '.[training]' in a clone")


def _corpora_in(named: Path | None, registry: Mapping[str, Corpus]) -> Path:
    """Return the folder of the corpora; raise `InputError` for one given by name that holds none of the registry."""
    from training.corpora import find_corpora

    folder = find_corpora(named)
    if named is not None and not any((folder / corpus.file_name).exists() for corpus in registry.values()):
        got = "none in it" if folder.is_dir() else "no folder"
        raise InputError(f"--corpora: {folder}: expected a folder with NAME.jsonl.gz of the registry, got {got}")
    return folder


def _say_corpora(folder: Path, registry: Mapping[str, Corpus], tiers: Sequence[str]) -> None:
    """Say on standard error which corpora there are, so that nobody trains on fewer than they think."""
    from training.train import usable

    corpora = usable(registry)
    found = [corpus.name for corpus in corpora if (folder / corpus.file_name).exists()]
    missing = [corpus.name for corpus in corpora if corpus.tier in tiers and corpus.name not in found]
    kinds = " or ".join(tiers)
    typer.echo(f"{len(found)} corpora in {folder}; missing ({kinds}): {', '.join(missing) or 'none'}", err=True)


def _names(option: str, value: str, allowed: Sequence[str]) -> list[str]:
    """Return the names that an option lists, each once; raise `InputError` for one that is not allowed."""
    names = list(dict.fromkeys(name.strip() for name in value.split(",")))
    for name in names:
        if name not in allowed:
            raise InputError(f"{option}: expected {', '.join(allowed)}, got {name!r}")
    return names


def _above_zero(option: str, value: float) -> float:
    if not 0 < value < math.inf:
        raise InputError(f"{option}: expected a number above 0, got {value:g}")
    return value


def _bounds(option: str, bounds: tuple[int, int]) -> tuple[int, int]:
    from moderation.features import MAX_NGRAM

    low, high = bounds
    if not 1 <= low <= high <= MAX_NGRAM:
        raise InputError(f"{option}: expected 1 <= fewest <= most <= {MAX_NGRAM}, got {low} {high}")
    return bounds


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
    name: Annotated[str, typer.Option("--name", help="First part of the model's id.")] = "en-9",
    tiers: Annotated[
        str, typer.Option("--tiers", help="Licence tiers to train on, by commas: open, unstated, noncommercial.")
    ] = "open",
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Processes.")] = 2,
    cache: Annotated[Path, typer.Option("--cache", help="Folder for features already counted.")] = Path(".cache"),
) -> None:
    """Train on the corpora and our own comments; write bundle, metrics, model card and scikit-learn pipeline."""
    _check_extra()
    from training.corpora import TIERS, load_registry
    from training.outputs import make_folder
    from training.train import TrainSettings
    from training.train import train as train_model

    settings = TrainSettings(name=name, tiers=tuple(_names("--tiers", tiers, TIERS)))
    registry = load_registry(datasets / "registry.toml")
    found = _corpora_in(corpora, registry)
    make_folder("--run", run)
    make_folder("--cache", cache)
    _say_corpora(found, registry, settings.tiers)
    with _in_one_sentence():
        metrics = train_model(registry, found, datasets, run, settings, jobs=jobs, progress=True, cache=cache)
    typer.echo(f"{metrics['model_id']} written to {run}")


@app.command()
def crossval(
    label: Annotated[str, typer.Option("--label", help="Label to try the settings on.")] = "incitement",
    word_ngrams: Annotated[tuple[int, int], typer.Option("--word-ngrams", help="Fewest and most words.")] = (1, 2),
    char_ngrams: Annotated[tuple[int, int], typer.Option("--char-ngrams", help="Fewest and most characters.")] = (2, 6),
    inverse_strength: Annotated[float, typer.Option("-C", help="Inverse of the regularisation.")] = 2.0,
    own_factor: Annotated[float, typer.Option("--own-factor", help="Weight of our own comments.")] = 3.0,
    pair_factor: Annotated[float, typer.Option("--pair-factor", help="Weight of minimal pairs among them.")] = 2.0,
    naive_bayes: Annotated[
        float, typer.Option("--naive-bayes", min=0, max=1, help="How far columns are scaled by naive-Bayes weights.")
    ] = 0.5,
    most: Annotated[int, typer.Option("--most", min=1, help="Rows of each public corpus.")] = 4_000,
    corpora: CorporaOption = None,
    datasets: DatasetsOption = Path("datasets"),
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Processes.")] = 2,
) -> None:
    """Try settings by leaving one corpus out at a time; looks at training rows alone."""
    _check_extra()
    from moderation.features import FeatureSettings
    from training.corpora import LABELS, load_registry
    from training.crossval import cap, cross_validate
    from training.fit import FitSettings
    from training.train import TrainSettings, gather

    if label not in LABELS:
        raise InputError(f"--label: expected {', '.join(LABELS)}, got {label!r}")
    features = FeatureSettings(_bounds("--word-ngrams", word_ngrams), _bounds("--char-ngrams", char_ngrams))
    fit = FitSettings(
        inverse_strength=_above_zero("-C", inverse_strength),
        own_factor=_above_zero("--own-factor", own_factor),
        pair_factor=_above_zero("--pair-factor", pair_factor),
        naive_bayes=naive_bayes,
    )
    settings = TrainSettings(features=features, fit=fit, min_rows_words=3, min_rows_chars=5)
    registry = load_registry(datasets / "registry.toml")
    table = cap(gather(registry, _corpora_in(corpora, registry), datasets, ("open",), jobs=jobs), most)
    with _in_one_sentence():
        found = cross_validate(table, settings, label, jobs=jobs)
    typer.echo(f"{label}: own {found['own']:.4f}, pairs {found['pairs']:.3f}, others {found['others']:.4f}")
    for name, auc in found["folds"].items():
        typer.echo(f"  {name:<28}{auc:.4f}")


@app.command()
def curve(
    label: Annotated[str, typer.Option("--label", help="Label to draw the curve of.")] = "incitement",
    grow: Annotated[str, typer.Option("--grow", help="Whose comments grow in number: own or public.")] = "own",
    sizes: Annotated[str, typer.Option("--sizes", help="Numbers of comments.")] = "1000,2000,4000,8000,16000",
    most: Annotated[int, typer.Option("--most", min=1, help="Rows of each public corpus.")] = 4_000,
    corpora: CorporaOption = None,
    datasets: DatasetsOption = Path("datasets"),
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Processes.")] = 2,
) -> None:
    """Train on ever more comments, and measure on those held back; the last line has all of them."""
    _check_extra()
    from training.corpora import LABELS, load_registry
    from training.crossval import cap
    from training.curve import GROWING, learning_curve
    from training.train import VIOLENCE, TrainSettings, gather

    for option, value, allowed in (("--label", label, LABELS), ("--grow", grow, GROWING)):
        if value not in allowed:
            raise InputError(f"{option}: expected {', '.join(allowed)}, got {value!r}")
    if not all(size.strip().isdecimal() and int(size) > 0 for size in sizes.split(",")):
        raise InputError(f"--sizes: expected whole numbers from 1, got {sizes!r}")
    settings, registry = TrainSettings(min_rows_words=3, min_rows_chars=6), load_registry(datasets / "registry.toml")
    table = cap(gather(registry, _corpora_in(corpora, registry), datasets, ("open",), jobs=jobs), most)
    fit = settings.fit_violence if label in VIOLENCE else settings.fit
    counts = [*map(int, sizes.split(",")), len(table.rows)]
    with _in_one_sentence():
        for point in learning_curve(table, settings, fit, label, counts, grow=grow, jobs=jobs):
            right, pairs = point["pairs"]
            sets = "".join(f", {name} {auc:.3f}" for name, auc in point["sets"].items())
            typer.echo(f"{point['comments']:>7,} comments: own AUC {point['auc']:.3f}, pairs {right}/{pairs}{sets}")


@app.command()
def check(datasets: DatasetsOption = Path("datasets")) -> None:
    """Check our own comments for near copies, broken pairs and what is held back; say how far annotators agree."""
    from training.own import HeldBack, agreement, problems, read_annotations, read_authored

    rows = read_authored(datasets / "authored")
    found = [*problems(rows), *HeldBack.load(datasets / "authored").unknown(rows)]
    for line in found:
        typer.echo(line)
    for label, values in agreement(read_annotations(datasets / "annotations"), "a", "b").items():
        same, kappa = values["same"], values["kappa"]
        typer.echo(f"{label}: {values['rows']} rows judged twice, {same:.1%} alike, Cohen's kappa {kappa:.2f}")
    raise typer.Exit(1 if found else 0)


@app.command()
def evaluate(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for metrics.json and report.html.")],
    files: Annotated[
        list[Path] | None, typer.Argument(help="Labelled files of your own; none: the held-out rows.")
    ] = None,
    bundle: Annotated[Path | None, typer.Option("--bundle", "-b", help="Model; default: the shipped one.")] = None,
    compare: Annotated[Path | None, typer.Option("--compare", help="Another model to set beside it.")] = None,
    rivals: Annotated[str, typer.Option("--rivals", help="Rivals to run on the same rows, separated by commas.")] = "",
    text_field: Annotated[str | None, typer.Option("--text-field", "-t", help="Field or column of the text.")] = None,
    id_field: Annotated[str | None, typer.Option("--id-field", "-i", help="Field or column of the id.")] = None,
    corpora: CorporaOption = None,
    datasets: DatasetsOption = Path("datasets"),
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Processes.")] = 2,
) -> None:
    """Measure a model on the held-out rows of the corpora, or on labelled files (JSONL, CSV, TSV).

    In a labelled file the fields or columns named like labels (incitement, abuse, ...) hold 1, 0 or nothing.
    """
    _check_extra()
    from training.assess import Assessment, write_assessment
    from training.corpora import load_registry
    from training.evaluate import FEWEST
    from training.outputs import make_folder
    from training.rivals import RIVALS

    names = _names("--rivals", rivals, list(RIVALS)) if rivals else []
    assessment = Assessment(bundle, compare, names, home=Path(".cache") / "rivals")
    if files:
        make_folder("--output", output)
        results = assessment.of_files(files, text_field, id_field)
    else:
        found = _corpora_in(corpora, load_registry(datasets / "registry.toml"))
        make_folder("--output", output)
        results = assessment.of_corpora(found, datasets, jobs=jobs)
        if not results["evaluation"]:
            wanted = f"a label with at least {FEWEST} held-out rows of each kind"
            raise InputError(f"nothing to measure: expected {wanted} in {datasets} and {found}, got none")
    write_assessment(results, output)
    typer.echo(results["table"])
    typer.echo(f"report: {output / 'report.html'}")


@app.command("perspective-map")
def perspective_map(
    output: Annotated[Path, typer.Option("--output", "-o", help="JSON file to write.")] = Path(
        "moderation/server/perspective_map.json"
    ),
    bundle: Annotated[Path | None, typer.Option("--bundle", "-b", help="Model; default: the shipped one.")] = None,
    page: Annotated[
        Path | None, typer.Option("--page", help="Markdown page whose table of agreement is to be brought up to date.")
    ] = None,
    corpora: CorporaOption = None,
    datasets: DatasetsOption = Path("datasets"),
) -> None:
    """Fit the server's map from our scores to Perspective's scale, and print how far the two agree."""
    _check_extra()
    from moderation.scorer import Scorer
    from training.corpora import CorpusNotFound, load_registry, read_corpus
    from training.outputs import check_file
    from training.perspective_map import CORPUS, check_page, fit_map, table, update_page, write_map

    check_file("--output", output)
    if page is not None:
        check_page(page)
        check_file("--page", page)
    registry = load_registry(datasets / "registry.toml")
    if CORPUS not in registry:
        raise CorpusNotFound(f"{datasets / 'registry.toml'}: expected the corpus {CORPUS}, got a registry without it")
    rows = list(read_corpus(registry[CORPUS], _corpora_in(corpora, registry)))
    with _in_one_sentence():
        found = fit_map(Scorer.load(bundle), rows)
    write_map(found, output)
    if page is not None:
        update_page(page, found)
    typer.echo(table(found))


def main() -> None:
    """Run the command line; an error of ours becomes one sentence and its exit code."""
    try:
        app()
    except ModerationError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
