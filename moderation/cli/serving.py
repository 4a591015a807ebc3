"""The command that answers over HTTP: `serve`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moderation.cli.queueing import HERE, DatabaseOption, ReasonsOption, TerritoryOption
from moderation.cli.scoring import BundleOption
from moderation.errors import InputError, MissingExtra

if TYPE_CHECKING:
    from moderation.server.moderators import QueueOptions


class UnknownAttributes(StrEnum):
    """What becomes of a Perspective attribute that we do not have."""

    refuse = "refuse"
    drop = "drop"


class LanguageCheck(StrEnum):
    """Which languages are refused."""

    off = "off"
    asked = "asked"
    strict = "strict"


class LogFormat(StrEnum):
    """How log lines look."""

    text = "text"
    json = "json"


def serve(
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one.")] = 8080,
    workers: Annotated[int, typer.Option("--workers", "-w", min=1, max=256, help="Processes that answer.")] = 1,
    policy: Annotated[Path | None, typer.Option("--policy", "-p", help="TOML file of thresholds.")] = None,
    bundle: BundleOption = None,
    database: DatabaseOption = HERE,
    queue: Annotated[
        bool | None, typer.Option("--queue/--no-queue", help="Show the moderators' queue at /; default: if installed.")
    ] = None,
    queue_scored: Annotated[
        str | None,
        typer.Option("--queue-scored", metavar="SITE", help="Put what is scored over HTTP into the queue, too."),
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Show a queue of invented comments, with an account, and forget it.")
    ] = False,
    reasons: ReasonsOption = None,
    territory: TerritoryOption = "EEA",
    api_keys: Annotated[
        Path | None, typer.Option("--api-keys", help="File of keys, one a line: KEY [NAME] [RATE], a rate as in 50/s.")
    ] = None,
    cors: Annotated[
        list[str] | None, typer.Option("--cors", help="Origin whose pages may call; * for any. May be repeated.")
    ] = None,
    raw_scores: Annotated[
        bool, typer.Option("--raw-scores", help="Give our probabilities under Perspective's names, not its scale.")
    ] = False,
    score_map: Annotated[Path | None, typer.Option("--score-map", help="Map to Perspective's scale.")] = None,
    unknown_attributes: Annotated[
        UnknownAttributes, typer.Option("--unknown-attributes", help="What becomes of attributes we do not have.")
    ] = UnknownAttributes.refuse,
    language_check: Annotated[
        LanguageCheck,
        typer.Option(
            "--language-check",
            help="Languages that Perspective's methods refuse: none, those asked for, or detected ones too.",
        ),
    ] = LanguageCheck.asked,
    coral_secrets: Annotated[
        Path | None, typer.Option("--coral-secrets", help="File of Coral's signing secrets, one a line.")
    ] = None,
    feedback: Annotated[
        Path | None, typer.Option("--feedback", help="JSONL file to which suggested scores are added.")
    ] = None,
    feedback_text: Annotated[
        bool, typer.Option("--feedback-text", help="Keep the text with them where its sender allows it.")
    ] = False,
    public_url: Annotated[
        str | None, typer.Option("--public-url", help="Address under which clients see this server.")
    ] = None,
    max_waiting: Annotated[
        int, typer.Option("--max-waiting", min=1, help="Requests that may wait per worker; more get 503 at once.")
    ] = 256,
    body_timeout: Annotated[
        float, typer.Option("--body-timeout", min=0.1, help="Seconds in which a body must have arrived.")
    ] = 10.0,
    head_timeout: Annotated[
        float, typer.Option("--head-timeout", min=0.1, help="Seconds in which the headers must have arrived.")
    ] = 10.0,
    log_format: Annotated[LogFormat, typer.Option("--log-format", help="How log lines look.")] = LogFormat.text,
    access_log: Annotated[bool, typer.Option("--access-log/--no-access-log", help="Log every request.")] = True,
) -> None:
    """Answer over HTTP: Perspective's protocol, OpenAI's, Coral's and our own; see /docs.

    Listens on this machine alone unless told otherwise. No comment text is logged, and none is stored unless asked for.
    """
    try:
        from moderation.server.run import ServeOptions, is_loopback, run
        from moderation.server.settings import Settings
    except ModuleNotFoundError as error:
        raise MissingExtra(f"the server needs {error.name}: pip install -e '.[server]' in a clone") from error

    if feedback_text and feedback is None:
        raise InputError("--feedback-text: expected --feedback FILE with it")
    if not is_loopback(host) and api_keys is None:
        typer.echo(f"warning: {host} may be reached from other machines and no --api-keys are set", err=True)
    settings = Settings(
        raw_scores=raw_scores,
        unknown_attributes=unknown_attributes.value,
        language_check=language_check.value,
        cors=tuple(cors or ()),
        api_keys=api_keys,
        coral_secrets=coral_secrets,
        feedback=feedback,
        feedback_text=feedback_text,
        score_map=score_map,
        public_url=public_url,
        max_waiting=max_waiting,
        body_timeout=body_timeout,
        head_timeout=head_timeout,
    )
    shows = (database, queue_scored, None if reasons is None else str(reasons), territory)
    with _queue(queue, shows, demo, bundle, policy) as (shown, told):

        def announce(address: str) -> None:
            typer.echo(f"moderation serves {address}  (documentation: {address}/docs)")
            if told:
                typer.echo(told)

        options = ServeOptions(host, port, workers, policy, bundle, log_format.value, access_log, settings, shown)
        run(options, announce)


@contextmanager
def _queue(
    wanted: bool | None,
    shows: tuple[str, str | None, str | None, str],
    demo: bool,
    bundle: Path | None,
    policy: Path | None,
) -> Iterator[tuple[QueueOptions | None, str]]:
    """Make the queue ready; yield it, or None when the server is to score alone, and what the operator should know.

    `shows` is what `QueueOptions` are made of.
    """
    import tempfile
    from dataclasses import replace

    from moderation.policy import Policy
    from moderation.scorer import Scorer

    if wanted is False:
        if demo or shows[1]:
            raise InputError("--no-queue: not with --demo or --queue-scored, which need the queue")
        yield None, ""
        return
    try:
        from moderation.server.moderators import QueueOptions, prepare
    except ModuleNotFoundError as error:
        if wanted or demo or shows[1]:
            raise MissingExtra(f"the queue needs {error.name}: pip install -e '.[queue]' in a clone") from error
        yield None, ""
        return
    with tempfile.TemporaryDirectory(prefix="moderation-demo-") as folder:
        options = QueueOptions(*shows)
        if demo:
            options = replace(options, database=str(Path(folder) / "demo.db"))
        scorer = Scorer.load(bundle)
        yield options, prepare(options, scorer, Policy.load(policy, labels=scorer.labels), demo=demo)
