"""Count the instructions that the kernel takes per character: ``python -m tests.benchmarks.instructions``.

valgrind's count does not depend on the machine's load, so it can guard against regressions where a clock cannot. Two
runs that differ only in how often they score the same comments are compared; what they do besides cancels out.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

from tests.conftest import ROOT

PROGRAM = """
import sys
sys.path.insert(0, {root!r})
import json
from pathlib import Path
from moderation import Scorer
scorer = Scorer.load()
paths = sorted((Path({root!r}) / "datasets" / "authored").glob("plain_*.jsonl"))[:4]
texts = [json.loads(line)["text"] for path in paths for line in path.read_text(encoding="utf-8").splitlines()]
for _ in range({times}):
    scorer.predict_proba(texts)
print(sum(map(len, texts)))
"""


def count(times: int) -> tuple[int, int]:
    """Return the instructions of a process that scores some comments so many times, and the comments' characters."""
    program = PROGRAM.format(root=str(ROOT), times=times)
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", sys.executable, "-c", program]
    # A start takes more or fewer instructions by chance where strings hash by chance.
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | {"PYTHONHASHSEED": "0"})
    found = re.search(r"Collected : (\d+)", done.stderr)
    if found is None:
        raise RuntimeError(f"valgrind said nothing of instructions: {done.stderr[-300:]}")
    return int(found.group(1)), int(done.stdout)


def per_character() -> float:
    """Return the instructions per character of comments whose words are remembered."""
    few, characters = count(2)
    many, _ = count(22)
    return (many - few) / (20 * characters)


if __name__ == "__main__":
    if not shutil.which("valgrind"):
        sys.exit("valgrind is not installed")
    print(f"{per_character():.1f} instructions per character")
