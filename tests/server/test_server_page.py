"""The page about the server: its command runs, its answers are real, its options are all of them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import Any

import pytest
import typer

from moderation.cli import app
from moderation.server.coral import REASON_CODES
from moderation.server.openai import CATEGORIES
from moderation.server.settings import Settings
from tests.conftest import ROOT
from tests.server.running import Server

PAGE = (ROOT / "docs" / "server.md").read_text(encoding="utf-8")
JSON = [json.loads(block) for block in re.findall(r"^```json\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)]


def shape(data: Any) -> Any:
    """Return an answer's keys and types, with one entry for a list."""
    if isinstance(data, dict):
        return {key: shape(value) for key, value in data.items()}
    return [shape(data[0])] if isinstance(data, list) else type(data).__name__


def test_the_command_gives_an_answer_of_the_printed_form_and_advice(server: Server) -> None:
    """The figures on the page are an example's, which move with the model; that the comment is held is not."""
    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    (line,) = (block for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL) if "curl" in block)
    done = subprocess.run(
        line.replace("http://127.0.0.1:8080", server.address), shell=True, capture_output=True, text=True
    )
    answer, printed = json.loads(done.stdout), JSON[0]
    answer["results"][0]["scores"] = printed["results"][0]["scores"]
    assert shape(answer) == shape(printed)
    verdict, example = answer["results"][0]["verdict"], printed["results"][0]["verdict"]
    assert (verdict["action"], verdict["label"]) == (example["action"], example["label"])


def test_the_problem_is_the_one_printed(server: Server) -> None:
    body = {"comments": [{"text": "a"}, {"text": 5}]}
    assert server.client.post("/v1/score", json=body).json() == JSON[1]


def test_every_address_is_named(server: Server) -> None:
    for path in server.client.get("/openapi.json").json()["paths"]:
        assert f"{path}`" in PAGE


def test_every_option_is_named() -> None:
    group = typer.main.get_command(app)
    command = group.commands["serve"]  # type: ignore[attr-defined]
    options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for option in options - {"--help"}:
        if option.startswith("--"):
            assert f"`{option}" in PAGE


def test_tables_and_bounds_are_those_of_the_code() -> None:
    for name in CATEGORIES:
        assert f"`{name}`" in PAGE
    for label, code in REASON_CODES.items():
        assert f"`{label}`" in PAGE
        assert f"`{code}`" in PAGE
    settings = Settings()
    assert settings.max_body == 4 << 20
    assert settings.max_batch_body == 32 << 20
    assert f"up to {settings.max_comments:,}" in PAGE
    assert f"waiting requests, {settings.max_buffered >> 20} MB" in PAGE
