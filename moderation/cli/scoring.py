"""Commands that score, explain and extract: `score`, `explain`, `extract` and `model`."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, BinaryIO, TextIO

import typer

from moderation.cli.endings import OutputFormat, check_libraries, form_of, named
from moderation.errors import InputError

if TYPE_CHECKING:
    from moderation.archive import Setup
    from moderation.batch import Chunk, Scored, Totals
    from moderation.formats.rows import Fields
    from moderation.policy import Policy
    from moderation.scorer import Scorer


class InputFormat(StrEnum):
    """What the input is; `auto` goes by name and content."""

    auto = "auto"
    jsonl = "jsonl"
    csv = "csv"
    tsv = "tsv"
    lines = "lines"
    page = "page"
    parquet = "parquet"


BundleOption = Annotated[
    Path | None, typer.Option("--bundle", "-b", help="Folder of the model; default: the shipped one.")
]


def score(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            help="JSONL, CSV, TSV, plain lines, Parquet, saved pages; .gz and .zst too; - or none: standard input."
        ),
    ] = None,
    text_field: Annotated[str | None, typer.Option("--text-field", "-t", help="Field or column of the text.")] = None,
    id_field: Annotated[str | None, typer.Option("--id-field", "-i", help="Field or column of the id.")] = None,
    form: Annotated[InputFormat, typer.Option("--format", "-f", help="What the input is.")] = InputFormat.auto,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="File to write (.jsonl, .csv, .parquet, .gz, .zst); appears when complete. -: standard output.",
        ),
    ] = None,
    to: Annotated[OutputFormat, typer.Option("--to", help="How to write the results.")] = OutputFormat.auto,
    policy: Annotated[Path | None, typer.Option("--policy", "-p", help="TOML file of thresholds.")] = None,
    labels: Annotated[str | None, typer.Option("--labels", "-l", help="Labels to give, separated by commas.")] = None,
    min_score: Annotated[
        float | None, typer.Option("--min-score", help="Leave out comments whose given scores are all below this.")
    ] = None,
    sort: Annotated[
        str | None, typer.Option("--sort", "-s", help="Order: severity, a label, or none. Tables, pages: severity.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, help="Processes that score; default: one a processor.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where an interrupted run with the same options stopped.")
    ] = False,
    bundle: BundleOption = None,
) -> None:
    """Score comments and say which ones a person should look at.

    JSON lines keep every field that came in and add scores, verdict and model. A row that cannot be read becomes an
    error record in its place. Exit code: 0 all well, 1 some rows in error, 2 wrong input or options, 3 no usable
    model.
    """
    from moderation.archive import Setup
    from moderation.batch import Request
    from moderation.formats.rows import Fields
    from moderation.policy import Policy
    from moderation.scorer import Scorer

    scorer = Scorer.load(bundle)
    rules = Policy.load(policy, labels=scorer.labels)
    chosen = _labels(labels, scorer)
    if sort not in (None, "none", "severity", *(chosen or scorer.labels)):
        raise InputError(
            f"--sort: expected severity, none or one of {', '.join(chosen or scorer.labels)}, got {sort!r}"
        )
    if min_score is not None and not 0 <= min_score <= 1:
        raise InputError(f"--min-score: expected a probability from 0 to 1, got {min_score}")
    output = named(output)
    kind = _output_format(to, output)
    check_libraries(kind, output)
    _refuse_input(output, files or [])
    sources = inputs_of(files or [Path("-")], form)
    # A thread is small and is read by a person: every comment of it gets its reasons.
    pages = all(source.form == "page" for source in sources)
    order = sort or ("severity" if kind is OutputFormat.table or pages else "none")
    fields = Fields(text_field, id_field)
    explain_all = kind is OutputFormat.table or pages
    setup = Setup(bundle, rules, Request(fields, tuple(chosen or ()), explain_all, min_score, order))
    run = _Run(sources, setup, scorer, kind, output, jobs)
    totals = run.journaled(resume=resume) if run.keeps_journal(resume=resume) else run.at_once()
    _tell(totals, rules, quiet=output is None and kind is not OutputFormat.table)


def _refuse_input(output: Path | None, files: Sequence[Path]) -> None:
    """Refuse to write over an input: rows that cannot be read would be lost."""
    if output is not None and os.path.isfile(output):  # which a name that is too long does not break
        for path in files:
            if os.path.isfile(path) and path.samefile(output):
                raise InputError(f"--output: {output} is an input, too, and would be written over; name another file")


@dataclass(frozen=True, slots=True)
class _Run:
    """One call of `score`, once its options are known to be right."""

    sources: list[_Source]
    setup: Setup
    scorer: Scorer
    kind: OutputFormat
    output: Path | None
    jobs: int | None

    def keeps_journal(self, *, resume: bool) -> bool:
        """Say whether the run can go on after an interruption; refuse `resume` where it cannot."""
        from moderation.output import is_regular

        able = self.output is not None and is_regular(self.output) and self.kind is not OutputFormat.table
        if self.setup.request.order == "none" and able:
            return True
        if resume:
            raise InputError("--resume: works with --output FILE as JSON lines, CSV or Parquet, in the input's order")
        return False

    def journaled(self, *, resume: bool) -> Totals:
        """Score into a partial file with a journal beside it, then let the output appear."""
        from dataclasses import replace

        from moderation.archive import score_chunks
        from moderation.formats.packing import pack
        from moderation.output import whole_file
        from moderation.partial import Partial

        assert self.output is not None
        direct = self.kind is OutputFormat.jsonl
        setup = replace(self.setup, packing=self.output.suffix.lower()) if direct else self.setup
        with Partial(self.output, self._about(), resume=resume) as partial:
            chunks = partial.remaining(_chunks(self.sources, setup.request.fields))
            try:
                for scored in score_chunks(chunks, setup, jobs=self.jobs, scorer=self.scorer):
                    partial.add(scored)
            except KeyboardInterrupt:
                typer.echo("interrupted: the same command with --resume goes on from here", err=True)
                raise
            if direct:
                partial.publish(empty=pack(b"", setup.packing))
            else:
                with whole_file(self.output) as out:
                    self._convert(partial.reader(), out)
                partial.discard()
            return partial.totals

    def _about(self) -> dict[str, Any]:
        from dataclasses import asdict

        request = asdict(self.setup.request)
        inputs = [[source.name, source.form] for source in self.sources]
        rules = asdict(self.setup.policy)
        return {"model": self.scorer.model_id, "policy": rules, "request": request, "inputs": inputs, "to": self.kind}

    def at_once(self) -> Totals:
        """Score to standard output, to a pipe, or in another order than the input's."""
        from moderation import output
        from moderation.archive import score_chunks
        from moderation.batch import Totals

        totals = Totals()

        def counted() -> Iterator[Scored]:
            chunks = _chunks(self.sources, self.setup.request.fields)
            for scored in score_chunks(chunks, self.setup, jobs=self.jobs, scorer=self.scorer):
                totals.add(scored.totals)
                yield scored

        if self.setup.request.order != "none":
            with output.in_order(counted()) as lines:
                self._write(lines)
        elif self.kind is OutputFormat.jsonl:
            self._write(scored.lines for scored in counted())
        else:
            with output.spooled(counted()) as lines:
                self._write(lines)
        return totals

    def _write(self, lines: Iterable[bytes]) -> None:
        from moderation.output import whole_file

        if self.kind is OutputFormat.table:
            from moderation import terminal

            labels = self.setup.request.labels or self.scorer.labels
            shown = [label for label in labels if self.setup.request.labels or label in self.setup.policy.thresholds]
            with _text_output(self.output) as text:
                terminal.print_table(map(json.loads, lines), text, shown, self.setup.request.fields)
            return
        with whole_file(self.output) if self.output else standard_output() as out:
            self._convert(lines, out)

    def _convert(self, lines: Iterable[bytes], out: IO[bytes]) -> None:
        """Write JSON lines as they are, or in the form that was asked for."""
        from moderation import output

        if self.kind is OutputFormat.jsonl:
            out.writelines(lines)
        else:
            write = output.write_csv if self.kind is OutputFormat.csv else output.write_parquet
            write(lines, out, self.setup.request.labels or self.scorer.labels)


def _labels(given: str | None, scorer: Scorer) -> list[str] | None:
    if given is None:
        return None
    labels = [label.strip() for label in given.split(",") if label.strip()]
    for label in labels:
        if label not in scorer.labels:
            raise InputError(f"--labels: unknown label {label!r}; the model scores {', '.join(scorer.labels)}")
    return list(dict.fromkeys(labels)) or None


def _output_format(to: OutputFormat, output: Path | None) -> OutputFormat:
    if to is not OutputFormat.auto:
        return to
    if output is None:
        return OutputFormat.table if _opened().isatty() else OutputFormat.jsonl
    return form_of(output)


def inputs_of(inputs: list[Path], form: InputFormat) -> list[_Source]:
    """Look at all inputs; raise `InputError` when one cannot be opened, or standard input is asked for twice."""
    sources = [_look(path, form) for path in inputs]
    if sum(source.path is None for source in sources) > 1:
        raise InputError("standard input (-) can be read only once")
    return sources


def _chunks(sources: list[_Source], fields: Fields) -> Iterator[Chunk]:
    """Read all inputs, one after another, and show how far that has come."""
    from moderation.archive import read_chunks

    for source in sources:
        with source.open() as plain, _progress(plain, source) as stream:
            yield from read_chunks(stream, source.form, fields, source.name)


def _progress(plain: io.BufferedReader, source: _Source) -> AbstractContextManager[io.BufferedReader]:
    if not sys.stderr.isatty() or source.form == "parquet":
        return nullcontext(plain)
    from moderation import terminal

    return terminal.progress_reader(plain, source.name, source.size)


@dataclass(frozen=True, slots=True)
class _Source:
    """An input that has been looked at and is opened when its turn comes."""

    path: Path | None
    """Where it is; None: standard input."""
    name: str
    form: Any
    size: int | None
    """Its length in bytes, where that is known and tells how far reading has come."""
    plain: io.BufferedReader | None = None
    """The stream, when it cannot be opened twice."""

    def open(self) -> io.BufferedReader:
        from moderation.formats.rows import open_plain

        return self.plain if self.plain is not None else open_plain(_raw(self.path))


def _look(path: Path, form: InputFormat) -> _Source:
    """Tell an input's name, form and size; raise `InputError` when it cannot be opened."""
    from moderation.formats.rows import HEAD, guess_format, is_packed, open_plain, readable, refuse_utf_16

    given = None if str(path) == "-" else path
    name = "standard input" if given is None else str(path)
    with readable(name), ExitStack() as closing:
        plain = closing.enter_context(open_plain(_raw(given)))
        head = plain.peek(HEAD)
        kind: Any = guess_format(name, head) if form is InputFormat.auto else form.value
        refuse_utf_16(name, kind, head)
        if kind == "parquet":
            from moderation.formats import parquet

            parquet.require()
        if given is None or not path.is_file():
            closing.pop_all()
            return _Source(given, name, kind, None, plain)
        return _Source(given, name, kind, None if is_packed(plain) else path.stat().st_size)


def _raw(path: Path | None) -> BinaryIO:
    if path is not None:
        try:
            return path.open("rb", buffering=0)
        except OSError as error:
            raise InputError(f"{path}: cannot be opened: {error.strerror}") from error
    if sys.stdin is None:
        raise InputError("standard input is closed; name a file")
    return sys.stdin.buffer


def _opened() -> TextIO:
    if sys.stdout is None:
        raise InputError("standard output is closed")
    return sys.stdout


@contextmanager
def standard_output() -> Iterator[BinaryIO]:
    """Give standard output for bytes; a reader that goes away ends the process silently.

    Raises `InputError` when it cannot be written.
    """
    from moderation.output import Named

    # A buffer of our own: what could not be written does not stay in Python's, to be tried again at the exit. With
    # PYTHONUNBUFFERED there is none, and a write without a buffer may stop half-way without saying so.
    _opened().flush()
    stream = sys.stdout.buffer
    out = io.BufferedWriter(Named(getattr(stream, "raw", stream), "standard output"))
    try:
        yield out
        out.flush()
    except InputError as error:
        if not isinstance(error.__cause__, BrokenPipeError):
            raise
        sys.exit(141)  # the reader went away (`| head`)
    finally:
        with suppress(InputError):
            out.close()


@contextmanager
def _text_output(output: Path | None = None) -> Iterator[TextIO]:
    from moderation.output import whole_file

    # A terminal without a letter shows its number; one emoji must not cost the whole table.
    encoding, errors = ("utf-8", "strict") if output else (_opened().encoding, "backslashreplace")
    with whole_file(output) if output else standard_output() as raw:
        text = io.TextIOWrapper(raw, encoding=encoding, errors=errors, write_through=True)
        yield text
        text.detach()


def _tell(totals: Totals, policy: Policy, *, quiet: bool) -> None:
    """Sum up on standard error; exit with 1 when rows were in error."""
    if not quiet or totals.failed:
        counts = ", ".join(f"{count:,} {action}" for action, count in totals.actions.items())
        counts += f", {totals.failed:,} in error" if totals.failed else ""
        typer.echo(f"{totals.rows:,} comments: {counts} (policy {policy.id})", err=True)
    for error in totals.errors:
        typer.echo(f"error: {error}", err=True)
    if totals.failed > len(totals.errors):
        typer.echo(f"error: and {totals.failed - len(totals.errors):,} more rows", err=True)
    if totals.failed:
        raise typer.Exit(1)


def extract(
    page: Annotated[Path, typer.Argument(help="A saved page, HTML or text; - for standard input.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; default: standard output.")
    ] = None,
) -> None:
    """Turn a saved forum page into JSON lines, one comment each, replies linked by parent_id."""
    from moderation.formats.pages import read_page
    from moderation.formats.rows import readable
    from moderation.output import whole_file, write_jsonl

    source, output = _look(page, InputFormat.page), named(output)
    with source.open() as plain, readable(source.name):
        comments = read_page(plain.read(), name=source.name)
    with whole_file(output) if output else standard_output() as out:
        write_jsonl((comment.to_json() for comment in comments), out)


def explain(
    text: Annotated[str, typer.Argument(help="The text; - reads it from standard input.")],
    labels: Annotated[
        str | None, typer.Option("--labels", "-l", help="Labels to explain, separated by commas.")
    ] = None,
    most: Annotated[int, typer.Option("--most", "-n", min=1, help="Words to name per label.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print every word's weight as JSON.")] = False,
    bundle: BundleOption = None,
) -> None:
    """Show a text with the words that drove each label. Weights are log-odds; with the start they add up to the sum."""
    from moderation import terminal
    from moderation.scorer import Scorer

    if text == "-":
        text = sys.stdin.buffer.read().decode("utf-8", errors="replace").rstrip("\n")
    scorer = Scorer.load(bundle)
    chosen = _labels(labels, scorer) or list(scorer.labels)
    explanation, result = scorer.explain(text), scorer.score(text)
    if as_json:
        spans = [span.to_json() for span in explanation.spans if span.label in chosen]
        probabilities = {label: result.probabilities[label] for label in chosen}
        decision = {label: explanation.decision[label] for label in chosen}
        intercept = {label: explanation.intercept[label] for label in chosen}
        found = {"model": scorer.model_id, "scores": probabilities, "decision": decision, "intercept": intercept}
        with _text_output() as out:
            out.write(json.dumps(found | {"spans": spans}) + "\n")
        return
    with _text_output() as out:
        terminal.print_explanation(text, result, explanation, chosen, most, out)


def model(
    bundle: BundleOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole passport as JSON.")] = False,
) -> None:
    """Show a model's passport: what it is, what it was trained on, how well it does."""
    from moderation.bundle import load_bundle
    from moderation.passport import describe

    manifest = load_bundle(bundle).manifest
    with _text_output() as out:
        out.write((json.dumps(manifest, indent=1) if as_json else describe(manifest)) + "\n")
