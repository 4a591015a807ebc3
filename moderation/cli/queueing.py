"""Commands of the moderators' queue and its people: `queue ...` and `users ...`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moderation.cli.endings import named
from moderation.cli.scoring import BundleOption, InputFormat, inputs_of, standard_output
from moderation.errors import InputError, MissingExtra

if TYPE_CHECKING:
    from datetime import datetime

    from moderation.comment import Comment
    from moderation.queue import Arrived, Store

queue = typer.Typer(no_args_is_help=True, help="The moderators' queue: put comments in, take decisions out, forget.")
webhooks = typer.Typer(no_args_is_help=True, help="Addresses that are told of every decision.")
users = typer.Typer(no_args_is_help=True, help="Accounts of moderators, and tokens for machines.")
queue.add_typer(webhooks, name="webhooks")

DatabaseOption = Annotated[
    str,
    typer.Option(
        "--database", "-d", envvar="MODERATION_DATABASE", help="Path of an SQLite file, or postgresql://USER@HOST/NAME."
    ),
]
HERE = "queue.db"
NameArgument = Annotated[str, typer.Argument(help="Name of the account.")]


class Form(StrEnum):
    """What an export is: labels and decisions as JSON lines, the same as a table, or statements of reasons."""

    jsonl = "jsonl"
    csv = "csv"
    statements = "statements"


class RoleName(StrEnum):
    """What an account may do."""

    moderator = "moderator"
    senior = "senior"
    admin = "admin"


ReasonsOption = Annotated[
    Path | None,
    typer.Option(envvar="MODERATION_REASONS", help="TOML file of the reasons for rejections; default: our own."),
]
TerritoryOption = Annotated[
    str,
    typer.Option(
        envvar="MODERATION_TERRITORY",
        help="Where a rejected comment is not shown, for statements of reasons: EEA, EU, or countries as DE,AT.",
    ),
]


def _check_extra() -> None:
    """Raise `MissingExtra` where the queue's libraries are not there."""
    try:
        import moderation.queue  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtra(f"the queue needs {error.name}: pip install -e '.[queue]' in a clone") from None


@contextmanager
def _store(database: str, reasons: Path | None = None, territory: str = "EEA", *, new: bool = False) -> Iterator[Store]:
    """Open the queue; only where it may be `new` is an SQLite file made that is not there."""
    _check_extra()
    from moderation.queue import Store, load_reasons
    from moderation.queue.statements import territory as countries

    known, where = None if reasons is None else load_reasons(reasons), countries(territory)
    if not new and "://" not in database and not Path(database).exists():
        raise InputError(f"--database: {database}: no such file; `queue import`, `users add` and `serve` make one")
    with Store.open(database, reasons=known, territory=where) as store:
        yield store


@queue.command("import")
def import_(
    files: Annotated[list[Path], typer.Argument(help="What `score` reads: JSONL, CSV, TSV, lines, saved pages, .gz.")],
    site: Annotated[str, typer.Option("--site", "-s", help="Name of the site that the comments stand on.")],
    database: DatabaseOption = HERE,
    form: Annotated[InputFormat, typer.Option("--format", "-f", help="What the input is.")] = InputFormat.auto,
    text_field: Annotated[str | None, typer.Option("--text-field", "-t", help="Field or column of the text.")] = None,
    id_field: Annotated[str | None, typer.Option("--id-field", "-i", help="Field or column of the id.")] = None,
    policy: Annotated[Path | None, typer.Option("--policy", "-p", help="TOML file of thresholds.")] = None,
    bundle: BundleOption = None,
    sample: Annotated[float, typer.Option(help="Share of what the policy lets through that people look at.")] = 0.01,
    double: Annotated[float, typer.Option(help="Share of the queue that two people look at.")] = 0.05,
    everything: Annotated[bool, typer.Option("--all", help="Let people look at every comment.")] = False,
    keep_passed: Annotated[bool, typer.Option(help="Keep what was let through, for context.")] = True,
) -> None:
    """Score comments and put them into the queue; those that are there already are not put in twice.

    A comment is known by its id; one without an id, by author, time and text. In a file that names an article only at
    some comments, the ones after it stand under the same article. Exit code 1 when some rows could not be read.
    """
    _check_extra()
    from moderation.intake import take_in
    from moderation.policy import Policy
    from moderation.queue import Intake
    from moderation.scorer import Scorer

    intake = Intake(sample, double, keep_passed, everything)
    scorer, errors = Scorer.load(bundle), list[str]()
    rules = Policy.load(policy, labels=scorer.labels)
    with _store(database, new=True) as store:
        arrived = take_in(
            store, _comments(files, form, text_field, id_field, errors), scorer, rules, site=site, intake=intake
        )
        store.database.optimise()
    _tell(arrived)
    for error in errors[:10]:
        typer.echo(f"error: {error}", err=True)
    if len(errors) > 10:
        typer.echo(f"error: and {len(errors) - 10:,} more rows", err=True)
    if errors:
        raise typer.Exit(1)


def _comments(
    files: list[Path], form: InputFormat, text_field: str | None, id_field: str | None, errors: list[str]
) -> Iterator[Comment]:
    """Yield the comments of all files, each under the article that the file named last."""
    from dataclasses import replace

    from moderation.formats.rows import Fields, read_rows
    from moderation.intake import ContentIds

    ids = ContentIds()
    for source in inputs_of(files, form):
        article = None
        with source.open() as stream:
            rows = read_rows(stream, source.form, Fields(text_field, id_field), name=source.name)
            for row in ids.given(rows, page=source.form == "page"):
                if row.comment is None:
                    errors.append(f"{source.name}, line {row.line}: {row.error}")
                    continue
                article = row.comment.article or article
                yield replace(row.comment, article=article)


def _tell(arrived: Arrived) -> None:
    typer.echo(
        f"{arrived.new:,} new, {arrived.edited:,} edited, {arrived.rescored:,} scored anew, "
        f"{arrived.unchanged:,} unchanged; {arrived.queued:,} wait for a person",
        err=True,
    )


@queue.command()
def rescore(
    database: DatabaseOption = HERE,
    policy: Annotated[Path | None, typer.Option("--policy", "-p", help="TOML file of thresholds.")] = None,
    bundle: BundleOption = None,
    sample: Annotated[
        float, typer.Option(help="Share of what the policy now lets through that people look at.")
    ] = 0.01,
) -> None:
    """Score what waits with another model or policy, after a change of either."""
    _check_extra()
    from moderation import intake
    from moderation.policy import Policy
    from moderation.queue import Intake
    from moderation.scorer import Scorer

    scorer = Scorer.load(bundle)
    rules = Policy.load(policy, labels=scorer.labels)
    with _store(database) as store:
        typer.echo(f"{intake.rescore(store, scorer, rules, Intake(sample)):,} comments scored anew", err=True)


@queue.command()
def status(database: DatabaseOption = HERE) -> None:
    """Say how much there is to do."""
    with _store(database) as store:
        counts = store.listing.counts()
        pending = sum(hook.pending for hook in store.webhooks.all())
    typer.echo(f"{counts.waiting:,} wait for a person, {counts.escalated:,} for a senior; {counts.appeals:,} appeals")
    for label, number in sorted(counts.by_label.items(), key=lambda item: -item[1]):
        typer.echo(f"  {label:<20}{number:>8,}")
    if pending:
        typer.echo(f"{pending:,} webhook events have not arrived yet")


@queue.command()
def export(
    database: DatabaseOption = HERE,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; default: standard output.")
    ] = None,
    to: Annotated[Form, typer.Option("--to", help="What to write.")] = Form.jsonl,
    since: Annotated[str | None, typer.Option(help="Only decisions from this day or time on (ISO 8601, UTC).")] = None,
    site: Annotated[str | None, typer.Option("--site", "-s", help="Only comments of this site.")] = None,
    reasons: ReasonsOption = None,
    territory: TerritoryOption = "EEA",
) -> None:
    """Write decisions, one a line.

    As JSON lines with the labels that follow, which `python -m training evaluate` reads; as CSV; or as statements of
    reasons with the fields of the DSA Transparency Database.
    """
    from moderation.output import whole_file

    start, output = None if since is None else _time(since), named(output)
    with _store(database, reasons, territory) as store, whole_file(output) if output else standard_output() as out:
        exports = store.exports
        write = {Form.jsonl: exports.jsonl, Form.csv: exports.csv, Form.statements: exports.statements}[to]
        lines = 0
        for line in write(since=start, site=site):
            out.write(line)
            lines += 1
        store.people.note("exported", detail=f"{to.value}, {lines} lines")


def _time(text: str) -> datetime:
    from datetime import UTC, datetime

    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(f"--since: expected a day or time such as 2026-11-25, got {text[:40]!r}") from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


MOST_DAYS = 36_500

DaysOption = Annotated[
    int, typer.Option("--older-than", min=0, max=MOST_DAYS, help="Age in days of the last decision.")
]


@queue.command()
def purge(
    older_than: DaysOption,
    passed_older_than: Annotated[
        int | None,
        typer.Option(min=0, max=MOST_DAYS, help="Age in days of what the policy let through; default: --older-than."),
    ] = None,
    waiting: Annotated[bool, typer.Option("--waiting", help="Also what still waits for a person.")] = False,
    database: DatabaseOption = HERE,
) -> None:
    """Forget texts and authors by age; decisions stay, without notes. There is no way back."""
    from datetime import timedelta

    with _store(database) as store:
        passed = None if passed_older_than is None else timedelta(days=passed_older_than)
        gone = store.retention.purge(timedelta(days=older_than), passed_older_than=passed, waiting=waiting)
    typer.echo(f"{gone.erased:,} comments erased, their decisions kept; {gone.deleted:,} deleted", err=True)


@queue.command()
def erase(
    site: Annotated[str, typer.Option("--site", "-s", help="Name of the site.")],
    author: Annotated[str, typer.Option("--author", help="Name of the author, exactly.")],
    database: DatabaseOption = HERE,
) -> None:
    """Forget all comments of one author; decisions stay, without notes. There is no way back."""
    with _store(database) as store:
        gone = store.retention.erase(site, author)
    typer.echo(f"{gone.erased:,} comments erased, their decisions kept; {gone.deleted:,} deleted", err=True)


@queue.command()
def deliver(
    database: DatabaseOption = HERE,
    watch: Annotated[bool, typer.Option("--watch", help="Go on until stopped.")] = False,
) -> None:
    """Send webhook events that are due. Exit code 1 when some did not arrive; they are tried again later."""
    import threading

    with _store(database) as store:
        if watch:
            store.webhooks.run(threading.Event())
        done = store.webhooks.deliver(limit=10_000)
    typer.echo(f"{done.sent:,} events arrived, {done.failed:,} did not", err=True)
    if done.failed:
        raise typer.Exit(1)


@queue.command()
def demo(database: DatabaseOption = "demo.db") -> None:
    """Fill a database of its own with invented comments and an account to look around with.

    The account is an admin's and its password is published, so a database with other accounts or sites is refused.
    """
    _check_extra()
    from moderation.intake import make_demo
    from moderation.policy import Policy
    from moderation.scorer import Scorer

    with _store(database, new=True) as store:
        name, password = make_demo(store, Scorer.load(), Policy.load())
        waiting = store.listing.counts().waiting
    typer.echo(f"{database}: {waiting} comments wait. Sign in as {name}, password {password}")


@webhooks.command("add")
def add_webhook(
    url: Annotated[str, typer.Argument(help="Address that events are posted to.")],
    site: Annotated[str | None, typer.Option("--site", "-s", help="Only decisions on this site.")] = None,
    database: DatabaseOption = HERE,
) -> None:
    """Add an address and print the secret that its events are signed with; it is shown only now."""
    with _store(database, new=True) as store:
        secret, hook = store.webhooks.add(url, site=site)
    typer.echo(f"webhook {hook.ref} added", err=True)
    typer.echo(secret)


@webhooks.command("list")
def list_webhooks(database: DatabaseOption = HERE) -> None:
    """List addresses with how many events have not arrived."""
    with _store(database) as store:
        for hook in store.webhooks.all():
            typer.echo(f"{hook.ref}\t{hook.url}\t{hook.site or 'all sites'}\t{hook.pending} pending")


@webhooks.command("rotate")
def rotate_webhook(
    number: Annotated[int, typer.Argument(help="Number of the webhook.")], database: DatabaseOption = HERE
) -> None:
    """Print a new secret; events are signed with it and with the one before, until the next rotation."""
    with _store(database) as store:
        typer.echo(store.webhooks.rotate(number))


@webhooks.command("remove")
def remove_webhook(
    number: Annotated[int, typer.Argument(help="Number of the webhook.")], database: DatabaseOption = HERE
) -> None:
    """Tell an address nothing more."""
    with _store(database) as store:
        store.webhooks.remove(number)


def _password(given_on_stdin: bool) -> str:
    if given_on_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))


StdinOption = Annotated[bool, typer.Option("--stdin", help="Read the password from standard input, for scripts.")]


@users.command("add")
def add_user(
    name: NameArgument,
    role: Annotated[RoleName, typer.Option("--role", "-r", help="What the account may do.")] = RoleName.moderator,
    stdin: StdinOption = False,
    database: DatabaseOption = HERE,
) -> None:
    """Make an account; the password is asked for."""
    with _store(database, new=True) as store:
        store.people.add(name, role.value, _password(stdin))
    typer.echo(f"{name} can sign in as {role.value}", err=True)


@users.command("list")
def list_users(database: DatabaseOption = HERE) -> None:
    """List accounts."""
    with _store(database) as store:
        for user in store.people.all():
            typer.echo(
                f"{user.name}\t{user.role}\t{'disabled' if user.disabled else 'active'}\t{user.created:%Y-%m-%d}"
            )


@users.command()
def disable(name: NameArgument, database: DatabaseOption = HERE) -> None:
    """Let nobody sign in to an account any more; what it did stays."""
    with _store(database) as store:
        store.people.disable(name)


@users.command()
def enable(name: NameArgument, database: DatabaseOption = HERE) -> None:
    """Let a disabled account sign in again."""
    with _store(database) as store:
        store.people.enable(name)


@users.command("role")
def set_role(
    name: NameArgument,
    role: Annotated[RoleName, typer.Argument(help="What the account may do.")],
    database: DatabaseOption = HERE,
) -> None:
    """Change what an account may do."""
    with _store(database) as store:
        store.people.set_role(name, role.value)


@users.command()
def password(name: NameArgument, stdin: StdinOption = False, database: DatabaseOption = HERE) -> None:
    """Change a password and end the account's sessions."""
    with _store(database) as store:
        store.people.get(name)
        store.people.set_password(name, _password(stdin))


@users.command()
def token(
    name: NameArgument,
    purpose: Annotated[str, typer.Option("--for", help="What the token is for, in your own words.")],
    scope: Annotated[list[str] | None, typer.Option("--scope", help="queue (default), appeals or export.")] = None,
    days: Annotated[int | None, typer.Option(min=1, help="Days that it lasts; default: until revoked.")] = None,
    database: DatabaseOption = HERE,
) -> None:
    """Make a token for a machine and print it; it is shown only now."""
    from datetime import timedelta

    with _store(database) as store:
        lasts = None if days is None else timedelta(days=days)
        secret, made = store.people.make_token(name, purpose, scope or ["queue"], lasts=lasts)  # type: ignore[arg-type]
    typer.echo(f"token {made.ref} for {', '.join(made.scopes)}", err=True)
    typer.echo(secret)


@users.command()
def tokens(database: DatabaseOption = HERE) -> None:
    """List tokens."""
    with _store(database) as store:
        for one in store.people.tokens():
            typer.echo(f"{one.ref}\t{one.name}\t{one.owner}\t{','.join(one.scopes)}\t{one.state}")


@users.command()
def revoke(
    number: Annotated[int, typer.Argument(help="Number of the token.")], database: DatabaseOption = HERE
) -> None:
    """Take a token back."""
    with _store(database) as store:
        store.people.revoke_token(number)
