"""Other tools that install from the package index, measured on the same rows.

Each rival lives in a virtual environment of its own, for their pins contradict ours and each other. A texts-in,
scores-out program runs there; only texts and numbers cross over.
"""

from __future__ import annotations

import json
import subprocess
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from moderation.errors import InputError, ModerationError

_FRAME = (
    "import json, sys\ntexts = json.load(sys.stdin)\n{body}\njson.dump([float(score) for score in scores], sys.stdout)"
)


@dataclass(frozen=True, slots=True)
class Rival:
    """A tool that gives a comment one score for abuse."""

    requirement: str
    """What pip is asked for, pinned so that figures stay what they are."""
    body: str
    """Python that turns the list ``texts`` into the list ``scores``."""


RIVALS = {
    "alt-profanity-check": Rival(
        "alt-profanity-check==1.8.0",
        "from profanity_check import predict_prob\nscores = predict_prob(texts) if texts else []",
    ),
    "better-profanity": Rival(
        "better-profanity==0.7.0",
        "from better_profanity import profanity\nprofanity.load_censor_words()\n"
        "scores = [profanity.contains_profanity(text) for text in texts]",
    ),
}


class RivalFailed(ModerationError):
    """A rival could not be installed or run."""


class RivalScorer:
    """A rival behind the names that `training.evaluate` asks for."""

    labels = ("abuse",)

    def __init__(self, name: str, home: Path) -> None:
        if name not in RIVALS:
            raise InputError(f"rival: expected one of {', '.join(RIVALS)}, got {name!r}")
        self._rival = RIVALS[name]
        self._python = home / name / "bin" / "python"
        if not self._python.exists():
            venv.create(home / name, with_pip=True)
        pip = [str(self._python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        self._run([*pip, self._rival.requirement], "")

    def predict_proba(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return the rival's scores, shape (n_texts, 1)."""
        safe = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        program = _FRAME.format(body=self._rival.body)
        out = self._run([str(self._python), "-W", "ignore", "-c", program], json.dumps(safe))
        return np.array(json.loads(out), dtype=np.float64)[:, None]

    @staticmethod
    def _run(command: list[str], stdin: str) -> str:
        done = subprocess.run(command, input=stdin, capture_output=True, text=True)
        if done.returncode:
            last = (done.stderr.strip() or "no message").splitlines()[-1]
            raise RivalFailed(f"{Path(command[0]).parent.parent.name}: {last}")
        return done.stdout
