"""Servers that several tests call."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.server.running import Server, serving


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with all defaults."""
    with serving(tmp_path_factory.mktemp("server")) as running:
        yield running
        log = running.logged()
        assert "a request failed" not in log, log
        assert "Exception" not in log, log


@pytest.fixture(scope="session")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with API keys, dropping attributes that it does not have, scoring without the map."""
    folder = tmp_path_factory.mktemp("keyed")
    keys = folder / "keys"
    keys.write_text("# our sites\nsecret-one gazette\nsecret-two  herald 2/s\nsecret-three\n")
    options = ("--api-keys", str(keys), "--unknown-attributes", "drop", "--raw-scores", "--language-check", "strict")
    with serving(folder, *options, "--cors", "https://news.example", "--log-format", "json") as running:
        yield running
