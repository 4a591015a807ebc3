"""What an operator may set. Every default is safe on a loopback address."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

UnknownAttributes = Literal["refuse", "drop"]
LanguageCheck = Literal["off", "asked", "strict"]


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of one server; the command line has an option for each that an operator needs."""

    raw_scores: bool = False
    """Give the model's own probabilities under Perspective's names, not mapped to Perspective's scale."""
    unknown_attributes: UnknownAttributes = "refuse"
    """What becomes of a Perspective attribute that we do not have: 400 as at Google, or left out of the answer."""
    language_check: LanguageCheck = "asked"
    """Which languages are refused: none, those that a caller names, or also those that are detected."""
    cors: tuple[str, ...] = ()
    """Origins whose pages may call from a browser; ``*`` for any."""
    loopback: bool = False
    """Whether only this machine can reach us; then no page under another machine's name is one of ours."""
    api_keys: Path | None = None
    """File of keys, one a line: KEY [NAME] [RATE]. None: no key is asked for."""
    coral_secrets: Path | None = None
    """File of Coral's signing secrets, one a line; while a secret is being changed there are two."""
    feedback: Path | None = None
    """JSONL file that suggested scores are added to. None: they are checked and dropped."""
    feedback_text: bool = False
    """Keep the text with a suggested score, if its sender allows it (`doNotStore` not true)."""
    score_map: Path | None = None
    """Map to Perspective's scale; None: the one that comes with the package."""
    public_url: str | None = None
    """Address under which clients see us, for the discovery document; None: the one that they called."""
    shared: Path | None = None
    """Folder in which several workers keep their counters; None: there is one worker."""
    max_waiting: int = 256
    """Requests that may wait for one worker; those beyond get 503 at once."""
    max_body: int = 4 << 20
    """Largest body of one call, in bytes."""
    max_batch_body: int = 32 << 20
    """Largest body of a call that holds many comments, in bytes."""
    max_buffered: int = 128 << 20
    """Bytes of all bodies that one worker holds at a time; a request beyond gets 503."""
    max_comments: int = 1_000
    """Most comments in one call."""
    body_timeout: float = 10.0
    """Seconds in which a body must have arrived."""
    head_timeout: float = 10.0
    """Seconds in which the request line and headers must have arrived."""
