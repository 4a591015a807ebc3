"""What was acknowledged is there: after kill -9, with a full disk, with a server that goes away."""

from __future__ import annotations

import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, func, make_url, select, text

from moderation.errors import StoreForeign, StoreFull, StoreUnavailable
from moderation.queue import Filter, Ruling, Store
from moderation.queue.schema import bulks, decisions
from tests.conftest import ROOT
from tests.queue.conftest import ADMIN, PLAIN, Clock, furnish, incoming
from tests.queue.recount import check

MODERATOR = """
import sys
from moderation.queue import Filter, Ruling, Store
where, name, mode = sys.argv[1:]
with Store.open(where, mix=0) as store:
    for n in range(100_000):
        if mode == "bulk":
            chosen = Filter(low=0.2)
            made = store.bulks.act(name, chosen, Ruling("approve"))
            print("bulk", made.ref, flush=True)
            store.bulks.undo(name, made.ref)
            continue
        [item] = store.desk.claim(name)
        made = store.desk.decide(name, item.ref, Ruling("reject", reason="ABUSE"), key=f"{name}-{n}")
        print("made", made.past.ref, flush=True)
        if n % 3 == 2:
            print("made", store.desk.undo(name, made.past.ref, key=f"{name}-{n}-undo").past.ref, flush=True)
"""


def start(where: str, name: str, mode: str = "single") -> subprocess.Popen[bytes]:
    program = [sys.executable, "-c", MODERATOR, where, name, mode]
    return subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)


def killed(process: subprocess.Popen[bytes], after: int, delay: float) -> list[int]:
    """Wait for some acknowledged decisions, kill the process, and return all that it acknowledged."""
    assert process.stdout is not None and process.stderr is not None
    seen = [process.stdout.readline() for _ in range(after)]
    assert all(seen), process.stderr.read().decode()
    time.sleep(delay)
    process.kill()
    seen += process.stdout.readlines()
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()
    process.stderr.close()
    return [int(line.split()[1]) for line in seen if line.endswith(b"\n")]


@pytest.mark.parametrize("seed", range(3))
def test_kill_9_loses_no_acknowledged_decision(where: str, seed: int) -> None:
    with Store.open(where) as store:
        store.arrivals.put([incoming(n, 0.5) for n in range(500)], site="gazette", intake=PLAIN)
    rng = random.Random(seed)
    ada, bob = start(where, "ada"), start(where, "bob")
    acknowledged = killed(ada, rng.randint(1, 20), rng.random() / 10) + killed(bob, 1, rng.random() / 10)
    with Store.open(where) as store:
        with store.database.read() as connection:
            kept = list(connection.scalars(select(decisions.c.id)))
        assert set(acknowledged) <= set(kept)
        assert len(kept) <= len(acknowledged) + 2  # the one in hand may have been kept, unacknowledged
        check(store)


def test_what_the_dead_had_before_them_comes_back(where: str, clock: Clock) -> None:
    with Store.open(where, now=clock, mix=0) as store:
        store.arrivals.put([incoming(n, 0.5) for n in range(3)], site="gazette", intake=PLAIN)
        assert len(store.desk.claim("ada", hold=3)) == 3
    with Store.open(where, now=clock, mix=0) as store:  # ada's process is gone
        assert store.desk.claim("bob") == []
        clock.forward(minutes=6)
        assert len(store.desk.claim("bob", hold=3)) == 3


def test_kill_9_leaves_a_bulk_act_whole_or_not_there(where: str) -> None:
    with Store.open(where) as store:
        store.arrivals.put([incoming(n, 0.5) for n in range(400)], site="gazette", intake=PLAIN)
    acknowledged = killed(start(where, "ada", "bulk"), 2, 0.05)
    with Store.open(where) as store:
        with store.database.read() as connection:
            made = connection.execute(
                select(bulks.c.id, bulks.c.size, func.count(decisions.c.id))
                .outerjoin(decisions, decisions.c.bulk_id == bulks.c.id)
                .group_by(bulks.c.id, bulks.c.size)
            ).all()
        assert set(acknowledged) <= {number for number, _, _ in made}
        assert all(size == count == 400 for _, size, count in made)
        assert store.listing.counts().waiting in (0, 400)
        check(store)


def fill_up(store: Store) -> tuple[list[int], Exception]:
    """Decide and let comments come in until the disk is full; return the acknowledged decisions and the error."""
    made: list[int] = []
    try:
        for n in range(10_000):
            # Random, for PostgreSQL compresses what repeats itself.
            store.arrivals.put(
                [incoming(n, 0.9, text="words" + os.urandom(100_000).hex())], site="gazette", intake=PLAIN
            )
            [item] = store.desk.claim("ada")
            made.append(store.desk.decide("ada", item.ref, Ruling("approve")).past.ref)
    except Exception as error:
        return made, error
    raise AssertionError("the disk never filled up")


def still_there(store: Store, made: list[int]) -> None:
    with store.database.read() as connection:
        kept = set(connection.scalars(select(decisions.c.id)))
    assert made and set(made) <= kept
    check(store)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 20 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = shutil.which("mount")
    done = mount and subprocess.run([mount, "-t", "tmpfs", "-o", "size=20m", "tmpfs", folder], capture_output=True)
    if not done or done.returncode:
        pytest.skip("needs the right to mount a small file system")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_is_told_and_loses_nothing_on_sqlite(small_disk: Path, sqlite_template: Path) -> None:
    shutil.copy(sqlite_template, small_disk / "queue.db")
    with Store.open(small_disk / "queue.db", mix=0) as store:
        made, error = fill_up(store)
        assert isinstance(error, StoreFull), repr(error)
        assert "no room left" in str(error)
        assert "words" not in str(error)
        still_there(store, made)
    for file in small_disk.glob("queue.db*"):  # the log beside it is part of the database
        shutil.copy(file, small_disk.parent)
    with Store.open(small_disk.parent / "queue.db", mix=0) as store:  # with room, work goes on
        store.arrivals.put([incoming(1_000_000)], site="gazette", intake=PLAIN)
        assert store.desk.claim("bob")
        still_there(store, made)


@pytest.fixture
def small_server(small_disk: Path, tmp_path: Path) -> Iterator[str]:
    """The address of a PostgreSQL server of one's own, whose tables have 60 MB and whose log lies elsewhere."""
    found = [shutil.which("initdb"), *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")))]
    programs = [Path(path).parent for path in found if path]
    if not programs or os.geteuid():
        pytest.skip("needs the programs of a PostgreSQL server, and root to start one as another user")
    subprocess.run(["mount", "-o", "remount,size=60m", small_disk], check=True)
    for folder in (small_disk, *small_disk.parents):
        if folder != Path("/tmp") and Path("/tmp") in folder.parents:
            folder.chmod(folder.stat().st_mode | 0o011)
    small_disk.chmod(0o777)
    log = tempfile.mkdtemp(prefix="queue-wal-")
    os.chmod(log, 0o777)

    def as_postgres(program: str, *arguments: str | Path) -> None:
        line = shlex.join([str(programs[-1] / program), *map(str, arguments)])
        done = subprocess.run(["su", "postgres", "-s", "/bin/sh", "-c", f"{line} >/dev/null 2>&1"], cwd="/")
        if done.returncode:
            pytest.skip(f"{program} does not run here")

    data, options = (
        small_disk / "data",
        f"-c listen_addresses='' -c unix_socket_directories={log} -c shared_buffers=16MB",
    )
    as_postgres(
        "initdb", "-D", data, "-X", f"{log}/wal", "-A", "trust", "--no-sync", "--locale=C.UTF-8", "--wal-segsize=1"
    )
    as_postgres("pg_ctl", "-D", data, "-w", "-l", f"{log}/log", "-o", options, "start")
    try:
        yield f"postgresql://postgres@/postgres?host={log}"
    finally:
        as_postgres("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
        shutil.rmtree(log, ignore_errors=True)


def test_a_full_disk_is_told_and_loses_nothing_on_postgres(small_server: str) -> None:
    with Store.open(small_server, mix=0) as store:
        furnish(store)
        made, error = fill_up(store)
        assert isinstance(error, StoreFull), repr(error)
        assert "words" not in str(error)
        still_there(store, made)


def test_a_server_that_goes_away_and_comes_back(postgres: str, where: str) -> None:
    if where != postgres:
        pytest.skip("SQLite has no server")
    with Store.open(where, mix=0) as store:
        store.arrivals.put([incoming(n) for n in range(3)], site="gazette", intake=PLAIN)
        [item] = store.desk.claim("ada")
        engine = create_engine(ADMIN, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(
                text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"),
                {"name": make_url(where).database},
            )
        engine.dispose()
        store.desk.decide("ada", item.ref, Ruling("approve"))  # broken connections are noticed and opened anew
        assert store.listing.counts().waiting == 2


@pytest.mark.parametrize("where", ["postgresql://127.0.0.1:1/none?connect_timeout=2", "/nowhere/at/all/queue.db"])
def test_a_database_that_cannot_be_reached(where: str) -> None:
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        Store.open(where)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "queue.db").write_text("this is a shopping list, not a database\n" * 100)
    with pytest.raises(StoreForeign, match="not a database"):
        Store.open(tmp_path / "queue.db")


def test_a_schema_of_a_later_version(where: str) -> None:
    with Store.open(where) as store:
        with store.database.write() as connection:
            known = connection.scalar(text("SELECT version_num FROM alembic_version"))
            connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        try:
            with pytest.raises(StoreForeign, match="later version"):
                Store.open(where)
        finally:
            with store.database.write() as connection:
                connection.execute(text("UPDATE alembic_version SET version_num = :known"), {"known": known})


def test_two_processes_may_open_a_new_database_at_once(tmp_path: Path) -> None:
    program = "import sys; from moderation.queue import Store; Store.open(sys.argv[1]).close()"
    started = [subprocess.Popen([sys.executable, "-c", program, tmp_path / "new.db"], cwd=ROOT) for _ in range(4)]
    assert [process.wait() for process in started] == [0] * 4


def test_a_busy_database_is_told_as_such(where: str) -> None:
    with Store.open(where) as first, Store.open(where) as second:
        first.arrivals.put([incoming(1)], site="gazette", intake=PLAIN)
        assert second.listing.count(Filter()) == 1
        if not first.database.is_sqlite:
            return
        with second.database.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA busy_timeout = 50")
        second.database.engine.pool.dispose()
        from moderation.queue import database

        seconds, database.BUSY_SECONDS = database.BUSY_SECONDS, 0
        try:
            with first.database.write(), pytest.raises(StoreUnavailable, match="busy"), second.database.write():
                pass
        finally:
            database.BUSY_SECONDS = seconds
