"""One database, SQLite or PostgreSQL: opening it, bringing its schema up to date, transactions, and its errors."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, Table, create_engine, event, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from moderation.errors import InputError, MissingExtra, StoreError, StoreForeign, StoreFull, StoreUnavailable
from moderation.queue.checkpoints import Checkpoints

BUSY_SECONDS = 10
"""How long a SQLite transaction waits for the one before it."""

CONNECTIONS = 20
"""Connections kept open; as many more are opened when needed."""

LONGEST_LOG = 20_000
"""Pages of SQLite's log at which a commit writes it back itself; before that a thread does (`Checkpoints`)."""

LOG_SECONDS = 10
"""How long `Database.empty_log` tries: as long as a reader may reasonably be in the way."""

LOG_PAUSE = 0.1
"""Seconds that one try waits for readers while nobody can write, and seconds between tries, in which others can."""

MIGRATION_LOCK = 0x6D6F6465
"""Number of the advisory lock that lets one process at a time bring a PostgreSQL schema up to date."""

_FULL = ("53100", "SQLITE_FULL")
_UNFIT = ("22001", "22003", "22021", "22P05", "54000", "SQLITE_TOOBIG")
"""Too long, too large, not of the character set, or too long for an index: what was given does not fit in."""
_BUSY = ("55P03", "40P01", "40001", "57014", "53300", "SQLITE_BUSY", "SQLITE_LOCKED")


LastWrite = Callable[["Database", Connection, Counter[Any]], None]
"""Writes what a transaction has gathered, just before it ends; see `Database.at_end`."""


def _now() -> datetime:
    return datetime.now(UTC)


class Database:
    """Transactions on one database. Safe to share between threads.

    Parameters
    ----------
    where : path of an SQLite file, or a URL: ``sqlite:///PATH`` or ``postgresql://USER@HOST/NAME``
    now : the clock; tests give their own
    """

    def __init__(self, where: Path | str, *, now: Callable[[], datetime] = _now) -> None:
        self.now = now
        self.engine = _engine(where)
        # SQLite's own waiting is by chance: threads of one process queue up here instead, first come, first served.
        self._turn: AbstractContextManager[Any] = threading.Lock() if self.is_sqlite else nullcontext()
        self.name = self.engine.url.render_as_string(hide_password=True)
        self._checkpoints = Checkpoints(partial(self.checkpoint, "PASSIVE")) if self.is_sqlite else None

    @property
    def is_sqlite(self) -> bool:
        """Whether this is SQLite, where one transaction writes at a time."""
        return self.engine.dialect.name == "sqlite"

    def insert(self, table: Table) -> Any:
        """Return an INSERT of this database's dialect, for ``on_conflict_do_...``."""
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that only reads."""
        with self._errors(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self, *, durable: bool = True) -> Iterator[Connection]:
        """Open a transaction that writes: all of it is kept on disk when the block ends, or none of it.

        On SQLite it is immediate: it waits for its turn at the beginning, so that what it reads stays true. One that is
        not `durable` does not wait for the disk; if the power goes it may be lost, as a whole. Claims are such.
        """
        with self._turn, self._errors(), self.engine.connect() as plain:
            gathered: dict[LastWrite, Counter[Any]] = {}
            connection = plain.execution_options(writes="durably" if durable else "soon", gathered=gathered)
            with connection.begin():
                if not durable and not self.is_sqlite:
                    connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
                yield connection
                for write, change in gathered.items():
                    write(self, connection, change)
        if self._checkpoints:
            self._checkpoints.wrote()

    def at_end(self, connection: Connection, write: LastWrite) -> Counter[Any]:
        """Return the numbers that a transaction of `write` hands to a function once, just before it ends.

        This is for rows that many transactions change, such as sums: they are locked for the shortest time, and nobody
        waits for anything else who has locked one.
        """
        gathered: dict[LastWrite, Counter[Any]] = connection.get_execution_options()["gathered"]
        return gathered.setdefault(write, Counter())

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except PoolTimeout:
            raise StoreUnavailable(f"{self.name}: all {2 * CONNECTIONS} connections are in use") from None
        except DBAPIError as error:
            raise self._translate(error) from None
        except sqlite3.Error as error:  # of the driver itself, which `checkpoint` asks
            raise self._translate(DBAPIError(None, None, error)) from None

    def _translate(self, error: DBAPIError) -> StoreError | InputError:
        """Name what went wrong; the driver's own words may hold a comment's text and are left out."""
        origin: Any = error.orig
        code = getattr(origin, "sqlstate", None) or getattr(origin, "sqlite_errorname", None) or ""
        named = f"{self.name}: {type(origin).__name__} {code}".rstrip()
        if code in _UNFIT or (isinstance(error, DataError) and not code):  # the driver refuses NUL without a code
            return InputError("expected text and numbers that the database can keep: none too long, and without NUL")
        if code.startswith(_FULL) or code == "SQLITE_IOERR_WRITE":
            return StoreFull(f"{self.name}: no room left on its disk; nothing of this was written")
        if code.startswith(_BUSY):
            return StoreUnavailable(f"{named}: busy; try again")
        if code.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
            return StoreForeign(f"{self.name}: not a database, or damaged")
        if error.connection_invalidated or code.startswith(("08", "57P", "28", "3D", "SQLITE_CANTOPEN")) or not code:
            return StoreUnavailable(f"{named}: cannot be reached")
        return StoreError(named)

    def migrate(self) -> None:
        """Bring the schema up to date, or make it; one process at a time does it.

        Raises `StoreForeign` when the database was written by a later version.
        """
        config = _alembic()
        with self._errors(), self.engine.connect() as plain:
            head = ScriptDirectory.from_config(config).get_current_head()
            if MigrationContext.configure(plain).get_current_revision() == head:
                return
            plain.rollback()
            connection = plain.execution_options(writes="durably")
            with connection.begin():
                if not self.is_sqlite:
                    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
                config.attributes["connection"] = connection
                try:
                    command.upgrade(config, "head")
                except CommandError:
                    raise StoreForeign(f"{self.name}: written by a later version of this program") from None

    def optimise(self) -> None:
        """Let the database look at its tables anew, so that it finds the best way through them; done after imports."""
        with self.write() as connection:
            connection.exec_driver_sql("ANALYZE")
        self.checkpoint()

    def checkpoint(self, how: str = "TRUNCATE") -> bool:
        """Let SQLite write its log back into the file: all of it, emptying it, or ``PASSIVE``, what it can.

        Return whether it could: SQLite does not raise an error when a reader, of any program, is in the way.
        """
        if not self.is_sqlite:
            return True
        with self._errors(), self.engine.connect() as connection:
            plain = connection.connection.driver_connection
            if plain is None:
                return False
            plain.execute(f"PRAGMA busy_timeout = {round(LOG_PAUSE * 1000)}")  # nobody can write while it waits
            try:
                busy, *_ = plain.execute(f"PRAGMA wal_checkpoint({how})").fetchone()
            finally:
                plain.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
        return not busy

    def empty_log(self) -> bool:
        """Empty SQLite's log, in which erased texts linger, trying for `LOG_SECONDS`; return whether it is empty."""
        until = time.monotonic() + LOG_SECONDS
        while True:
            with self._turn:
                if self.checkpoint():
                    return True
            if time.monotonic() >= until:
                return False
            time.sleep(LOG_PAUSE)

    def close(self) -> None:
        """Close all connections."""
        if self._checkpoints:
            self._checkpoints.close()
        self.engine.dispose()


def _alembic() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config


def _engine(where: Path | str) -> Engine:
    address = str(where) if "://" in str(where) else f"sqlite:///{where}"
    try:
        url = make_url(address)
        if url.drivername in ("postgresql", "postgres"):
            url = url.set(drivername="postgresql+psycopg")
        if url.get_backend_name() not in ("sqlite", "postgresql"):
            raise InputError(f"database: expected a path, sqlite:// or postgresql://, got {url.drivername}://")
        if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
            raise InputError("database: expected the path of a file; a queue in memory would lose what people did")
        pool = {"pool_size": CONNECTIONS, "max_overflow": CONNECTIONS}
        # A server may have gone away since; a file has not.
        pool["pool_pre_ping"] = url.get_backend_name() != "sqlite"
        engine = create_engine(url, hide_parameters=True, **pool)
    except (ArgumentError, NoSuchModuleError):
        raise InputError("database: expected a path, sqlite:///PATH or postgresql://USER@HOST/NAME") from None
    except ModuleNotFoundError as error:
        raise MissingExtra(f"PostgreSQL needs {error.name}: pip install -e '.[postgres]' in a clone") from None
    if url.get_backend_name() == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy begins transactions, not the driver (see _begin_sqlite)
    for pragma in (
        f"busy_timeout = {BUSY_SECONDS * 1000}",
        "journal_mode = WAL",
        f"wal_autocheckpoint = {LONGEST_LOG}",
        "foreign_keys = ON",
        "cache_size = -32000",
        "secure_delete = ON",  # what is erased is overwritten
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes")
    if writes:
        # With a write-ahead log, NORMAL leaves the log to the next durable commit, and FULL waits for the disk.
        connection.exec_driver_sql(f"PRAGMA synchronous = {'FULL' if writes == 'durably' else 'NORMAL'}")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
