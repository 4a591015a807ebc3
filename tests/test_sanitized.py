"""The kernel under AddressSanitizer and UndefinedBehaviorSanitizer: no read or write beyond its bounds, for any text."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.conftest import ROOT

COMPILER = shlex.split(sysconfig.get_config_var("CC") or "cc")[0]

# Random texts of the pieces that the rules are about, short ones and some of many thousand characters, through every
# function of the module; its answers are compared with the pure path's elsewhere (tests/test_kernel.py).
PROGRAM = """
import importlib.util, random, sys
spec = importlib.util.spec_from_file_location("moderation._ngrams", {module!r})
sys.modules["moderation._ngrams"] = module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
from pathlib import Path
import numpy as np
from moderation import Scorer, kernel
from tests.test_kernel import PIECES
rng = random.Random(5)
def text():
    size = rng.choice([0, 1, 3, 10, 40, 400, 9000])
    pieces = PIECES if rng.random() < 0.7 else [chr(c) for c in rng.sample(range(0x110000), 50)]
    return "".join(rng.choices(pieces, k=size))
texts = [text() for _ in range(1500)] + ["a" * 300_000, "@" * 70_000, "\U0010ffff" * 5000, "x y " * 20_000]
assert kernel.COMPILED is module
scorer = Scorer.load()
found = scorer.predict_proba(texts)
assert found.shape == (len(texts), len(scorer.labels)) and np.isfinite(found).all()
for one in texts[:400]:
    module.tokens(one)
    scorer.explain(one)
for block in (0, 1):
    module.count_ngrams(tuple(texts[:400]), block, 1 + block, 2 + 4 * block)
print("done")
"""


def runtime(name: str) -> Path:
    """Return a sanitizer's library; a path that is no file when the compiler has none."""
    done = subprocess.run([COMPILER, f"-print-file-name={name}"], capture_output=True, text=True, check=True)
    return Path(done.stdout.strip())


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if sys.platform != "linux" or not shutil.which(COMPILER) or not runtime("libasan.so").is_absolute():
        pytest.skip("needs Linux and a compiler that brings libasan")
    module = tmp_path_factory.mktemp("sanitized") / "_ngrams.so"
    options = ["-shared", "-fPIC", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
    include = f"-I{sysconfig.get_paths()['include']}"
    subprocess.run([COMPILER, *options, include, ROOT / "moderation/_c/ngrams.c", "-lm", "-o", module], check=True)
    return module


def run(program: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "LD_PRELOAD": f"{runtime('libasan.so')} {runtime('libubsan.so')}",
        "ASAN_OPTIONS": "detect_leaks=0",  # the interpreter itself does not free everything at its end
        "PYTHONMALLOC": "malloc",  # so that texts lie in memory whose bounds are watched
    }
    return subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True)


def test_no_text_makes_the_kernel_leave_its_bounds(sanitized: Path) -> None:
    done = run(PROGRAM.format(module=str(sanitized)))
    assert done.returncode == 0, done.stderr[-6000:]
    assert done.stdout == "done\n"


def test_the_sanitizers_are_awake(sanitized: Path) -> None:
    """A check that reads beyond a buffer on purpose must fail, or the test above shows nothing."""
    done = run("import ctypes; ctypes.string_at(ctypes.CDLL(None).malloc(8), 4096)")
    assert done.returncode != 0
    assert "AddressSanitizer" in done.stderr
