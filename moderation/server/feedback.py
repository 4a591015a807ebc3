"""Suggested scores, kept as labelled lines for later training; never a text without two permissions."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from moderation.errors import InputError


class Feedback:
    """An append-only JSONL file that several workers may write to.

    Parameters
    ----------
    path : the file; beside it, in ``NAME.key``, lies the key of the text hashes
    keep_text : whether the operator allows that a text be kept
    model_id : the model that is served, whose scores a sender may have seen
    """

    def __init__(self, path: Path, *, keep_text: bool, model_id: str) -> None:
        self.path = path
        self.keep_text = keep_text
        self.model_id = model_id
        try:
            self._key = _key(path.with_name(path.name + ".key"))
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {error.strerror}") from error

    def keep(
        self,
        text: str,
        *,
        attributes: Mapping[str, float],
        labels: Mapping[str, float],
        may_keep_text: bool,
        client_token: str | None = None,
        community: str | None = None,
        languages: Sequence[str] = (),
        context: Sequence[str] = (),
    ) -> None:
        """Add one line.

        Parameters
        ----------
        attributes, labels : suggested value in [0, 1] per requested attribute, and per label of ours
        may_keep_text : whether the sender allows that the text be kept
        context : what the sender said about where the comment stands; kept with the text only
        """
        record: dict[str, object] = {"received": datetime.now(UTC).isoformat(timespec="seconds")}
        record |= {"labels": dict(labels), "attributes": dict(attributes), "text_hash": self.hash(text)}
        record |= {"model_id": self.model_id}
        if client_token is not None:
            record["client_token"] = client_token
        if community is not None:
            record["community"] = community
        if languages:
            record["languages"] = list(languages)
        if self.keep_text and may_keep_text:
            record |= {"text": text} | ({"context": list(context)} if context else {})
        line = json.dumps(record, ensure_ascii=True) + "\n"
        # One write to a file opened for appending: lines of several workers do not mix.
        os.write(self._file, line.encode("ascii"))

    def hash(self, text: str) -> str:
        """Return a keyed hash of a text: it finds the same text again, and nobody without the key can guess it."""
        return hmac.new(self._key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def _key(path: Path) -> bytes:
    """Read the key, or make one; of several workers that make one at a time, one wins."""
    if not path.exists():
        ours = path.with_name(f"{path.name}.{os.getpid()}")
        with os.fdopen(os.open(ours, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(secrets.token_bytes(32))
        try:
            with suppress(FileExistsError):
                os.link(ours, path)
        finally:
            ours.unlink()
    key = path.read_bytes()
    if len(key) < 32:
        raise InputError(f"{path}: expected a key of at least 32 bytes, got {len(key)}")
    return key
