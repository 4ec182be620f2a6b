"""A store in each kind of database."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from tests.support.postgres import running_postgres, why_not
from vb.history.store import Store


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """A PostgreSQL server for all tests of this process."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    with running_postgres() as url:
        yield url


def _administer(server: str, *statements: str) -> None:
    engine = create_engine(
        make_url(server).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def new_database(server: str, rest: str = "") -> str:
    """Make an empty PostgreSQL database; returns its URL."""
    name = f"t{uuid.uuid4().hex}"
    _administer(server, f"CREATE DATABASE {name} {rest}")
    return make_url(server).set(database=name).render_as_string(hide_password=False)


@dataclass(frozen=True)
class LosableDatabase:
    """A PostgreSQL database that can be taken away, connections and all, and given back."""

    server: str
    url: str

    def lose(self) -> None:
        name = make_url(self.url).database
        _administer(self.server, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        _administer(
            self.server, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        )

    def run(self, statement: str) -> None:
        """Do something inside it, whatever its state."""
        server = make_url(self.url).render_as_string(hide_password=False)
        _administer(server, "SET default_transaction_read_only = off", statement)

    def give_back(self) -> None:
        _administer(self.server, f"ALTER DATABASE {make_url(self.url).database} ALLOW_CONNECTIONS true")


@pytest.fixture
def losable(postgres_server: str) -> LosableDatabase:
    """An empty PostgreSQL database that can be lost."""
    return LosableDatabase(postgres_server, new_database(postgres_server))


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/history/calls.db"
    return new_database(request.getfixturevalue("postgres_server"))


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """An empty store of each kind."""
    found = Store(database_url, run_id=uuid.UUID(int=1), instance_id="one")
    found.open()
    yield found
    found.close()
