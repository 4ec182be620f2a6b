"""Connections to the history's database, and its tables brought up to date."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib import resources
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.script.revision import ResolutionError
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, create_engine, event, func, select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    NoSuchModuleError,
    OperationalError,
    SQLAlchemyError,
)

from vb.errors import ConfigError

BUSY_MS: Final = 2_000
"""How long SQLite waits for another process that writes."""
CONNECT_S: Final = 3
STATEMENT_MS: Final = 10_000
"""A statement is given up then."""
PROGRESS_STEPS: Final = 200_000
"""Steps of SQLite between two looks at the clock."""
POOL: Final = 6
"""Connections: of those who read, of who writes, of who tends, and one to spare, so that nobody waits."""
WORK_MEM: Final = "64MB"
"""Of one statement of PostgreSQL: enough to mark each of a million calls, and not whole pages of them."""
AS_BYTES: Final[dict[str, Any]] = {"as_bytes": True}
"""Options of a statement that reads long binary values: else PostgreSQL would spell them out in digits."""
CACHE_KIB: Final = 65_536
"""Pages that each connection of SQLite may keep in memory."""
_MIGRATION_LOCK: Final = 0x7662_0001
"""Of PostgreSQL's advisory locks: servers that start together take turns."""


class DatabaseUnknown(SQLAlchemyError):
    """Tables that took steps which this version does not know, or cannot take those to it."""


class DatabaseUnfit(SQLAlchemyError):
    """A database that has no room for every letter."""


_TAKEN: Final = {
    "23505",
    "SQLITE_CONSTRAINT_PRIMARYKEY",
    "SQLITE_CONSTRAINT_UNIQUE",
    "SQLITE_CONSTRAINT_ROWID",
}
_BROKEN_BY_RECORDS: Final = _TAKEN | {"23503", "SQLITE_CONSTRAINT_FOREIGNKEY", "SQLITE_CONSTRAINT"}
_TOO_LARGE: Final = {"54000"}
"""What PostgreSQL and SQLite call a key that another row has or no row, and a value beyond a limit.

Of a row of the words that is there already SQLite tells no more than that it is forbidden.
"""


def _told(problem: DBAPIError) -> set[str | None]:
    """Return what the database itself calls a problem."""
    return {getattr(problem.orig, name, None) for name in ("sqlstate", "sqlite_errorname")}


def is_taken(problem: IntegrityError) -> bool:
    """Whether another row has the key."""
    return bool(_told(problem) & _TAKEN)


def is_of_database(problem: DBAPIError) -> bool:
    """Tell a database that takes nothing from one that does not take what it was given.

    One that became a standby is read-only, one without a table is being moved, and one that a newer server
    has changed lacks a column: to PostgreSQL these are no failures of the connection, nor of the data. That
    its file is damaged, or is none, SQLite tells by no kind of its own. And a rule of a table that no record
    could break when this version was made, such as a column that wants a value, is none of the record's.
    """
    if isinstance(problem, IntegrityError):
        return not _told(problem) & _BROKEN_BY_RECORDS
    if isinstance(problem, DataError) or _told(problem) & _TOO_LARGE:
        return False
    if type(problem) is DatabaseError:
        return True
    told = getattr(problem.orig, "sqlstate", None)  # by PostgreSQL itself, and not by its driver
    return isinstance(problem, OperationalError | InterfaceError) or told is not None


def parse_url(text: str) -> URL:
    """Return a database URL with the driver that is used.

    Raises:
        ConfigError: it is none, or of another kind of database.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):  # a port that is no number; the text may hold a password
        raise ConfigError("VB_DATABASE_URL: must be a database URL or off") from None
    name = url.get_backend_name()
    if name == "sqlite":
        if not url.database or url.database == ":memory:":
            raise ConfigError("VB_DATABASE_URL: SQLite needs a file, as in sqlite:////var/lib/vb/calls.db")
        return url.set(drivername="sqlite+pysqlite")
    if name in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg")
    raise ConfigError("VB_DATABASE_URL: knows sqlite and postgresql")


def open_engine(url: URL) -> Engine:
    """Return an engine; nothing is connected yet.

    Raises:
        ConfigError: the driver is not installed.
    """
    if url.get_backend_name() == "sqlite":
        engine = create_engine(
            url,
            pool_size=POOL,
            max_overflow=0,
            pool_timeout=CONNECT_S,
            connect_args={"timeout": BUSY_MS / 1000},
        )
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    try:
        engine = create_engine(
            url,
            pool_size=POOL,
            max_overflow=0,
            pool_timeout=CONNECT_S,
            pool_pre_ping=True,
            connect_args={
                "connect_timeout": CONNECT_S,
                "client_encoding": "utf8",  # whatever the environment says: names have all kinds of letters
                "options": _options(url),
                "prepare_threshold": 5,
            },
        )
    except (ImportError, NoSuchModuleError):
        raise ConfigError("VB_DATABASE_URL: PostgreSQL needs psycopg; install vb[postgres]") from None
    event.listen(engine, "before_cursor_execute", _prepare_cursor)
    return engine


def _options(url: URL) -> str:
    """Return the settings of sessions of PostgreSQL: those that are given, such as a schema, and ours."""
    given = url.query.get("options")
    if given is None:
        given = os.environ.get("PGOPTIONS", "")  # noqa: TID251 -- libpq would read it, were there no others
    theirs = given if isinstance(given, str) else " ".join(given)
    return f"{theirs} -c statement_timeout={STATEMENT_MS} -c timezone=UTC -c work_mem={WORK_MEM}".strip()


def _prepare_cursor(
    _connection: Connection, cursor: Any, _statement: str, _parameters: Any, context: Any, _many: bool
) -> None:
    if context.execution_options.get("as_bytes"):
        cursor.format = 1  # of psycopg: values come as they are, not as digits


def _prepare_sqlite(connection: sqlite3.Connection, _: object) -> None:
    connection.isolation_level = None  # transactions begin where `_begin_sqlite` says
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",
        f"cache_size=-{CACHE_KIB}",
        "temp_store=MEMORY",
        "journal_size_limit=67108864",
        "secure_delete=ON",  # what is said of a deleted call is not left in the file
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    # A reader that turns writer midway fails when somebody wrote in between; whoever means to write says so.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Give a transaction that writes; it is rolled back when the block fails."""
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        yield connection


def empty_log(engine: Engine) -> bool:
    """Empty the log of an SQLite file, which has in it what was deleted since; others look after theirs.

    Returns:
        Whether it is empty; not while somebody reads or writes what lies there.

    Raises:
        SQLAlchemyError: no connection is free, or the file cannot be used.
    """
    if engine.dialect.name != "sqlite":
        return True
    try:
        with closing(engine.raw_connection()) as connection, closing(connection.cursor()) as cursor:
            try:
                cursor.execute("PRAGMA busy_timeout=0")  # who writes must not be held up
                cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                return not any(is_held for is_held, *_ in cursor.fetchall())
            finally:
                cursor.execute(f"PRAGMA busy_timeout={BUSY_MS}")
    except sqlite3.Error as exc:  # past SQLAlchemy: it comes as what the driver calls it
        if isinstance(exc, sqlite3.OperationalError):  # locked
            return False
        raise DatabaseError("PRAGMA wal_checkpoint", None, exc) from exc


@contextmanager
def reading(engine: Engine, *, limit_ms: int | None = None) -> Iterator[Connection]:
    """Give a transaction that only reads, all of it as it was at one moment.

    Args:
        engine: of the database.
        limit_ms: a statement that takes longer fails; None for the usual limit.
    """
    snapshot = {} if engine.dialect.name == "sqlite" else {"isolation_level": "REPEATABLE READ"}
    with engine.connect().execution_options(**snapshot) as connection, connection.begin():
        if connection.dialect.name != "sqlite":
            if limit_ms is not None:
                limit = func.set_config("statement_timeout", str(limit_ms), True)
                connection.execute(select(limit))
            yield connection
            return
        database = connection.connection.driver_connection
        assert isinstance(database, sqlite3.Connection)
        give_up_at = time.monotonic() + (STATEMENT_MS if limit_ms is None else limit_ms) / 1000
        database.set_progress_handler(lambda: int(time.monotonic() > give_up_at), PROGRESS_STEPS)
        try:
            yield connection
        finally:
            database.set_progress_handler(None, 0)


def make_folder(url: URL) -> None:
    """Make an SQLite file and its folder; only their owner may read what lies there.

    Raises:
        OSError: it cannot be made.
    """
    if url.get_backend_name() == "sqlite" and url.database:
        path = Path(os.path.abspath(url.database))
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def upgrade(engine: Engine, *, to: str = "head") -> None:
    """Bring the tables up to date; several processes may do so at once.

    Args:
        engine: of the database.
        to: the last step that is taken.

    Raises:
        OSError: the folder of an SQLite file cannot be made.
        DatabaseUnfit: PostgreSQL keeps its text in another encoding than UTF-8.
        DatabaseUnknown: the tables are those of a newer version, or no steps lead on from them.
        SQLAlchemyError: the database cannot be reached or used.
    """
    make_folder(engine.url)
    config = AlembicConfig()
    config.set_main_option("script_location", str(resources.files("vb.history") / "migrations"))
    config.set_main_option("path_separator", "os")
    with writing(engine) as connection:
        if connection.dialect.name == "postgresql":
            encoding = connection.scalar(select(func.current_setting("server_encoding")))
            if encoding != "UTF8":  # it would refuse some calls, each for good
                raise DatabaseUnfit(f"the database's encoding is {encoding}, and has to be UTF8")
            connection.execute(select(func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
        attributes: dict[str, Any] = config.attributes
        attributes["connection"] = connection
        try:
            command.upgrade(config, to)
        except CommandError as exc:
            if isinstance(exc.__cause__, ResolutionError):
                raise DatabaseUnknown(f"the database was made by a newer version of vb: {exc}") from None
            raise DatabaseUnknown(f"the database cannot be brought up to date: {exc}") from None
