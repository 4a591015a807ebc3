"""Fetch public corpora from their publishers, convert them and keep them if they are what the registry says.

Nothing is fetched that the registry does not name; nothing stays on disk that it does not recognise.
"""

import email.utils
import http.client
import json
import os
import random
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from training.convert import Upstream, convert, local_name, pack_rows, parse_upstream
from training.corpora import (
    Corpus,
    CorpusDamaged,
    CorpusError,
    CorpusNotFound,
    FetchError,
    content_digest,
    load_registry,
    read_corpus,
)
from training.outputs import make_folder

_CHUNK = 2**16


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to try, and how much to take."""

    attempts: int = 6
    """How often an address is asked without any byte of progress in between."""
    first_wait: float = 1.0
    """Seconds before the second attempt; each further wait is twice as long, give or take half."""
    longest_wait: float = 60.0
    """Most seconds between two attempts, also if the server asks for more."""
    timeout: float = 30.0
    """Seconds without an answer after which a connection counts as dropped."""
    largest: int = 128 * 2**20
    """Most bytes that one file may have."""


class _Passing(Exception):
    """A fault that may be gone at the next attempt."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait
        """Seconds that the server asks to wait."""


def fetch(
    names: Iterable[str],
    directory: Path,
    *,
    progress: bool = True,
    registry: Mapping[str, Corpus] | None = None,
    patience: Patience | None = None,
) -> None:
    """Put the corpora `names` into `directory`, each as NAME.jsonl.gz; those that are there and whole stay as they are.

    Parameters
    ----------
    names : names of tables in the registry
    directory : folder of the corpora, made if missing
    progress : show bars on standard error, if that is a terminal
    registry : None for the one of this checkout
    patience : retries, timeouts and size limit

    Raises CorpusNotFound before anything is fetched if a name is unknown or a corpus has no stable address and is not
    there, and InputError if nothing can be written into `directory`; FetchError if a download fails for good,
    UpstreamError or CorpusDamaged if what came is not the corpus. An interrupted download goes on where it stopped
    when called again.
    """
    known = load_registry() if registry is None else registry
    named = _named(names, known)
    make_folder("folder of the corpora", directory)
    wanted = [(corpus, upstream) for corpus in named if (upstream := _missing(corpus, directory))]
    for corpus, upstream in wanted:
        _fetch_one(corpus, upstream, directory, progress, patience)


def _named(names: Iterable[str], registry: Mapping[str, Corpus]) -> list[Corpus]:
    names = list(dict.fromkeys(names))
    for name in names:
        if name not in registry:
            raise CorpusNotFound(f"{name}: no such corpus; expected one of {', '.join(sorted(registry))}")
    return [registry[name] for name in names]


def _missing(corpus: Corpus, directory: Path) -> Upstream | None:
    """Return where to fetch the corpus, None if it is there already."""
    try:
        read_corpus(corpus, directory)
    except CorpusError as error:
        upstream = parse_upstream(corpus)
        if upstream is None:
            raise CorpusNotFound(
                f"{corpus.name}: has no stable public address; put a copy of {corpus.file_name} into {directory}, "
                f"expected SHA-256 {corpus.sha256}"
            ) from error
        return upstream
    return None


def _fetch_one(corpus: Corpus, upstream: Upstream, directory: Path, progress: bool, patience: Patience | None) -> None:
    folder = directory / f".{corpus.name}.upstream"
    folder.mkdir(exist_ok=True)
    for path in upstream.paths():
        target = folder / local_name(path)
        if not target.exists():
            download(upstream.url + path, target, progress=progress, patience=patience)
    packed = directory / f".{corpus.file_name}.part"
    try:
        _keep(corpus, upstream, folder, packed)
    finally:
        # Right or wrong, the publisher's files have served: wrong ones would only be wrong again.
        shutil.rmtree(folder)
        packed.unlink(missing_ok=True)


def _keep(corpus: Corpus, upstream: Upstream, folder: Path, packed: Path) -> None:
    raws = list(convert(upstream, folder))
    got = content_digest(raws, corpus.text_field)
    if got != corpus.content_sha256:
        raise CorpusDamaged(
            f"{corpus.name}: what {upstream.url} gave is not the corpus: "
            f"expected {corpus.rows} rows with content {corpus.content_sha256}, got {len(raws)} with {got}"
        )
    pack_rows(raws, packed)
    os.replace(packed, packed.parent / corpus.file_name)


def download(url: str, target: Path, *, progress: bool = False, patience: Patience | None = None) -> None:
    """Fetch `url` into `target`, which appears only when it is whole.

    What came so far lies in a `.part` file beside it, with the server's mark of the version in a `.mark` file; a later
    call asks for the rest. Dropped connections, timeouts, 429 and 5xx are tried again. Raises FetchError.
    """
    patience = patience or Patience()
    part, failures = target.with_name(target.name + ".part"), 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            _attempt(url, part, progress, patience)
            break
        except _Passing as fault:
            gained = part.exists() and part.stat().st_size > before
            failures = 1 if gained else failures + 1
            if failures >= patience.attempts:
                raise FetchError(f"{url}: gave up after {failures} attempts without progress: {fault}") from fault
            time.sleep(_wait(patience, failures, fault.wait))
    os.replace(part, target)
    _mark(part).unlink(missing_ok=True)


def _wait(patience: Patience, failures: int, asked: float | None) -> float:
    own = patience.first_wait * 2 ** (failures - 1) * random.uniform(0.5, 1.5)
    return min(patience.longest_wait, own if asked is None else asked)


def _mark(part: Path) -> Path:
    return part.with_suffix(".mark")


def _attempt(url: str, part: Path, progress: bool, patience: Patience) -> None:
    """Fetch all or the rest of `url` once. Raises _Passing or FetchError."""
    request = urllib.request.Request(url, headers=_resume(url, part))
    try:
        with urllib.request.urlopen(request, timeout=patience.timeout) as answer:
            _receive(url, answer, part, progress, patience)
    except urllib.error.HTTPError as error:
        _refused(url, error, part)
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError | ConnectionError):
            raise _Passing(str(error.reason)) from error
        # An unknown host or a bad certificate does not mend itself within a minute.
        raise FetchError(f"{url}: {error.reason}") from error
    except (TimeoutError, ConnectionError, http.client.HTTPException) as error:
        raise _Passing(f"connection dropped ({type(error).__name__})") from error


def _resume(url: str, part: Path) -> dict[str, str]:
    headers = {"Accept-Encoding": "identity", "User-Agent": "moderation-training"}
    mark = _mark(part)
    if part.exists() and mark.exists():
        with suppress(ValueError):
            known = json.loads(mark.read_text(encoding="utf-8"))
            if isinstance(known, dict) and known.get("url") == url and known.get("version"):
                headers |= {"Range": f"bytes={part.stat().st_size}-", "If-Range": known["version"]}
    return headers


def _refused(url: str, error: urllib.error.HTTPError, part: Path) -> None:
    error.close()
    if error.code == 416:
        # The part is longer than the file is now.
        part.unlink(missing_ok=True)
        raise _Passing("the server has no such range") from error
    if error.code == 429 or error.code >= 500:
        raise _Passing(f"HTTP status {error.code}", _retry_after(error.headers.get("Retry-After"))) from error
    raise FetchError(f"{url}: expected HTTP status 200, got {error.code} {error.reason}") from error


def _retry_after(value: str | None) -> float | None:
    """Read a Retry-After header, seconds or a date, as seconds from now; None if it says nothing."""
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def _receive(url: str, answer: Any, part: Path, progress: bool, patience: Patience) -> None:
    have = part.stat().st_size if answer.status == 206 else 0
    if answer.status == 206 and not str(answer.headers.get("Content-Range")).startswith(f"bytes {have}-"):
        part.unlink()
        raise _Passing("the server sent another range than asked")
    length = answer.headers.get("Content-Length", "")
    total = have + int(length) if length.isdigit() else None
    if total is not None and total > patience.largest:
        _too_large(url, part, patience, total)
    if answer.status == 200:
        # Only a strong ETag says that the bytes are the same; without a mark the next attempt begins anew.
        version = answer.headers.get("ETag", "")
        version = answer.headers.get("Last-Modified") if version[:2] in ("", "W/") else version
        _mark(part).write_text(json.dumps({"url": url, "version": version}), encoding="utf-8")
    with part.open("ab" if have else "wb") as file:
        size = _copy(answer, file, have, total, progress, patience, part.stem)
    if size > patience.largest:
        _too_large(url, part, patience, size)
    if total is not None and size != total:
        raise _Passing(f"connection dropped after {size} of {total} bytes")


def _too_large(url: str, part: Path, patience: Patience, size: int) -> None:
    part.unlink(missing_ok=True)
    _mark(part).unlink(missing_ok=True)
    raise FetchError(f"{url}: expected at most {patience.largest} bytes, got {size} or more")


def _copy(
    answer: Any, file: BinaryIO, have: int, total: int | None, progress: bool, patience: Patience, name: str
) -> int:
    """Copy the body to `file` until it ends or is too large; return the size of the file then."""
    from tqdm import tqdm

    hidden = not (progress and sys.stderr.isatty())
    with tqdm(initial=have, total=total, unit="B", unit_scale=True, desc=name, disable=hidden) as bar:
        while have <= patience.largest and (chunk := answer.read1(_CHUNK)):
            file.write(chunk)
            have += len(chunk)
            bar.update(len(chunk))
    return have
