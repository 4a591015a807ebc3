"""The programs of docs/embedding.md, run as a reader would run them."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "embedding.md").read_text(encoding="utf-8")
PROGRAMS = {
    match[1]: match[2] for match in re.finditer(r"^```python\n# (\S+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with all of the page's files."""
    for name, program in PROGRAMS.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(program)
    return tmp_path


def run(folder: Path, *arguments: str, **environment: str) -> str:
    line = [sys.executable, "-W", "error", *arguments]
    done = subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=120, env=os.environ | environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_program_has_a_name() -> None:
    assert len(PROGRAMS) == PAGE.count("```python") == 8


def test_plain(project: Path) -> None:
    assert run(project, "plain.py").startswith("hold abuse ['pathetic'")


def test_processes(project: Path) -> None:
    low, high = (float(line) for line in run(project, "processes.py").splitlines())
    assert low < 0.2 < high


def test_asynchronous(project: Path) -> None:
    low, high = (float(value) for value in re.findall(r"[\d.]+", run(project, "asynchronous.py")))
    assert low < 0.2 < high


DJANGO = """
import django
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["comments.apps.CommentsConfig"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "site.db"}},
)
django.setup()
from django.core.management import call_command
call_command("migrate", run_syncdb=True, verbosity=0)
from comments.models import ReaderComment
for text in ("I love this garden.", "You pathetic little liar."):
    ReaderComment.objects.create(author="Ann", text=text)
edited, saved = ReaderComment.objects.create(author="Bob", text="Good."), ReaderComment.objects.create(text="Good.")
ReaderComment.objects.update_or_create(pk=edited.pk, defaults={"text": "You pathetic little liar."})
saved.text = "You pathetic little liar."
saved.save(update_fields=["text"])
for comment in ReaderComment.objects.order_by("id"):
    words = [comment.text[span["start"]:span["end"]] for span in comment.advice["verdict"].get("reasons", [])]
    print(comment.action, comment.published, words[:1], comment.advice["score"]["model_id"][:3])
"""


def test_django(project: Path) -> None:
    first, *others = run(project, "-c", DJANGO).splitlines()
    assert first == "allow True [] en-"
    assert others == ["hold False ['pathetic'] en-"] * 3  # made so, edited by `update_or_create`, saved in part


FASTAPI = """
from starlette.testclient import TestClient
from {module} import app
with TestClient(app) as client:
    for text in ("I love this garden.", "You pathetic little liar."):
        answer = client.post("{path}", json={body})
        print(answer.status_code, answer.text)
    print(client.get("/moderation/$discovery/rest").text[:400])
"""


def test_fastapi(project: Path) -> None:
    program = FASTAPI.format(module="site_api", path="/comments", body='{"text": text}')
    first, second = run(project, "-c", program).splitlines()[:2]
    assert first == '201 {"status":"published","advice":"allow"}'
    assert second == '201 {"status":"held","advice":"hold"}'


def test_mounted(project: Path) -> None:
    body = '{"comment": {"text": text}, "requestedAttributes": {"TOXICITY": {}}}'
    program = FASTAPI.format(module="mounted", path="/moderation/v1alpha1/comments:analyze", body=body)
    first, second, discovery = run(project, "-c", program).splitlines()
    assert first.startswith('200 {"attributeScores"')
    assert second.startswith('200 {"attributeScores"')
    assert '"rootUrl":"http://testserver/moderation/"' in discovery


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[str]:
    """A Redis of our own."""
    if shutil.which("redis-server") is None:
        pytest.skip("needs redis-server for Celery's broker")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    line = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL)
    try:
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(20)


CELERY = """
import tasks
answer = tasks.advise.delay("c-1", "You pathetic little liar.").get(timeout=60)
print(answer["comment_id"], answer["action"], answer["label"])
"""


@pytest.mark.parametrize("pool", ["solo", "prefork"])
def test_celery(project: Path, redis: str, pool: str) -> None:
    environment = os.environ | {"BROKER": redis}
    line = [sys.executable, "-m", "celery", "-A", "tasks", "worker", "--pool", pool, "--concurrency", "1"]
    log = project / "worker.log"
    with log.open("w") as output:
        worker = subprocess.Popen(line, cwd=project, env=environment, stdout=output, stderr=output)
    try:
        done = subprocess.run(
            [sys.executable, "-c", CELERY], cwd=project, capture_output=True, text=True, env=environment, timeout=90
        )
        assert done.stdout == "c-1 hold abuse\n", done.stderr + log.read_text()
    finally:
        worker.terminate()
        worker.wait(30)
