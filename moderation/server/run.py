"""Runs the server as processes: one, or several under uvicorn's supervisor, which starts a killed one anew."""

from __future__ import annotations

import hashlib
import logging
import logging.config
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn
from starlette.types import ASGIApp
from uvicorn.supervisors import Multiprocess

from moderation.errors import InputError, ModerationError
from moderation.policy import Policy
from moderation.scorer import Scorer
from moderation.server.app import create_app, create_service
from moderation.server.logs import LogFormat, log_config
from moderation.server.protocol import BoundedProtocol
from moderation.server.settings import Settings

if TYPE_CHECKING:
    from moderation.server.moderators import QueueOptions

logger = logging.getLogger("moderation.server")

BACKLOG = 2_048
MOST_CONNECTIONS = 4_096
"""Connections of one worker; those beyond get 503."""

KEEP_ALIVE = 75
"""Seconds that an idle connection is kept."""

GRACE = 20
"""Seconds in which a server that is asked to stop finishes the answers that it has begun."""


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """How the server is run; plain data, for every worker gets a copy."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 8080
    """Port to listen on; 0 takes a free one."""
    workers: int = 1
    """Processes that answer."""
    policy: Path | None = None
    """Policy file; None: the default one."""
    bundle: Path | None = None
    """Model; None: the shipped one."""
    log_format: LogFormat = "text"
    """How log lines look."""
    access_log: bool = True
    """Whether every request is logged."""
    settings: Settings = field(default_factory=Settings)
    """What the application is told."""
    queue: QueueOptions | None = None
    """The moderators' queue to show; None: scoring alone."""


def build(options: ServeOptions) -> ASGIApp:
    """Return the application that the options describe; called in every worker."""
    scorer, policy = _judge(options)
    if options.queue is None:
        return create_app(scorer, policy, options.settings)
    from moderation.server.moderators import create_queue_app

    return create_queue_app(scorer, policy, options.settings, options.queue)


def run(options: ServeOptions, announce: Callable[[str], None]) -> None:
    """Listen and answer until asked to stop.

    Parameters
    ----------
    announce : called once with the address, when the socket listens
    """
    options = replace(options, settings=replace(options.settings, loopback=is_loopback(options.host)))
    lines = log_config(options.log_format, access=options.access_log)
    logging.config.dictConfig(lines)
    _raise_file_limit()
    with _listening(options.host, options.port) as listener, _shared_folder(options) as options:
        host, port = listener.getsockname()[:2]
        application: Callable[[], ASGIApp] | ASGIApp
        if options.workers == 1:
            application = build(options)
        else:
            _accept(options)
            application = partial(build, _as_accepted(options))
        config = uvicorn.Config(
            application,
            factory=options.workers > 1,
            workers=options.workers,
            http=partial(BoundedProtocol, head_timeout=options.settings.head_timeout),  # type: ignore[arg-type]
            ws="none",
            lifespan="on",
            access_log=False,
            server_header=False,
            log_config=lines,
            limit_concurrency=MOST_CONNECTIONS,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=GRACE,
        )
        announce(f"http://{f'[{host}]' if ':' in host else host}:{port}")
        if options.workers == 1:
            _run_alone(uvicorn.Server(config), listener)
        else:
            _Supervisor(config, listener, partial(_accept, options)).run()


def _run_alone(server: uvicorn.Server, listener: socket.socket) -> None:
    # uvicorn raises the signal that stopped it once more at the end; by then all is answered.
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, signal.SIG_IGN)

    def hang_up(sign: int, frame: FrameType | None) -> None:
        if not server.should_exit:
            logger.warning("SIGHUP ends a server of one process; with --workers 2 it starts the workers anew")
            server.handle_exit(sign, frame)

    hangup = getattr(signal, "SIGHUP", None)  # not on Windows
    if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:  # ignored: started by nohup
        signal.signal(hangup, hang_up)
    server.run(sockets=[listener])


class _Supervisor(Multiprocess):
    """Starts a killed worker anew, and all of them at a hangup if what they would read can be read."""

    def __init__(self, config: uvicorn.Config, listener: socket.socket, accept: Callable[[], None]) -> None:
        super().__init__(config, sockets=[listener])
        self._accept = accept

    def terminate_all(self) -> None:
        # Open here, it would go on to take connections that nobody answers any more.
        for listener in self.sockets:
            listener.close()
        super().terminate_all()

    def handle_hup(self) -> None:
        try:
            self._accept()
        except (ModerationError, OSError) as error:
            logger.error("not reloaded, the workers go on as they are", extra={"reason": str(error)})
        else:
            super().handle_hup()


def _accept(options: ServeOptions) -> None:
    """Raise what is wrong with a file here and once; keep the files for the workers, also for one that starts later."""
    create_service(*_judge(options), replace(options.settings, shared=None))
    assert options.settings.shared is not None
    # Systems clean their folder for temporary files of what nobody touched for days.
    options.settings.shared.mkdir(mode=0o700, exist_ok=True)
    for path, kept in _kept(options):
        new = kept.with_suffix(".new")
        new.write_bytes(path.read_bytes())
        new.replace(kept)


def _kept(options: ServeOptions) -> Iterator[tuple[Path, Path]]:
    """Yield the operator's files, and where the last accepted form of each is; the folder is ours alone."""
    named = options.settings
    assert named.shared is not None
    for path in (options.policy, named.api_keys, named.coral_secrets, named.score_map):
        if path is not None:
            yield path, named.shared / f"accepted-{hashlib.sha256(str(path).encode()).hexdigest()[:16]}"


def _as_accepted(options: ServeOptions) -> ServeOptions:
    where, named = dict(_kept(options)), options.settings
    policy = None if options.policy is None else where[options.policy]
    keys, secrets, score_map = (
        None if path is None else where[path] for path in (named.api_keys, named.coral_secrets, named.score_map)
    )
    settings = replace(named, api_keys=keys, coral_secrets=secrets, score_map=score_map)
    return replace(options, policy=policy, settings=settings)


def _judge(options: ServeOptions) -> tuple[Scorer, Policy]:
    scorer = Scorer.load(options.bundle)
    return scorer, Policy.load(options.policy, labels=scorer.labels)


def is_loopback(host: str) -> bool:
    """Tell whether an address can be reached from this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"--host, --port: cannot listen on {host}, port {port}: {reason}") from error
    with listener:
        listener.set_inheritable(True)
        yield listener


@contextmanager
def _shared_folder(options: ServeOptions) -> Iterator[ServeOptions]:
    """Give several workers a folder for what they count together."""
    if options.workers == 1:
        yield options
        return
    folder = Path(tempfile.mkdtemp(prefix="moderation-"))
    try:
        yield replace(options, settings=replace(options.settings, shared=folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _raise_file_limit() -> None:
    """Allow as many open connections as the system lets us."""
    try:
        import resource
    except ImportError:
        return
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
