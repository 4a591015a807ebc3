"""Measure scoring against rivals in one run: ``python -m tests.benchmarks.speed [--corpora DIR] [-o runs/speed]``.

Prints a table of ratios, each the median of several rounds in which all take turns, and writes ``speed.json`` and
``speed.png``. Rivals come with the extra ``bench``; alt-profanity-check gets a virtual environment of its own under the
output's folder. Comments are our own ones, or the news comments of the public corpora when their folder is given.

Times of one core are processor times, so that other work on the machine counts less; times of whole processes and of
threads are by the wall clock.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from moderation import Scorer, kernel
from moderation.bundle import load_bundle
from tests.conftest import ROOT

NEWS = ("civil_subset", "context_toxicity")
"""Corpora whose comments are a sample of what news sites get."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table."""

    measure: str
    value: float
    goal: str
    unit: str = "x"
    note: str = ""

    @property
    def met(self) -> bool:
        least, bound = self.goal.startswith("≥"), float(self.goal[1:])
        return self.value >= bound if least else self.value <= bound


def comments(corpora: Path | None) -> list[str]:
    """Return real news comments, or our own, in a mixed order."""
    texts: list[str] = []
    if corpora is not None:
        for name in NEWS:
            with gzip.open(corpora / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
                texts += [json.loads(line)["text"] for line in file]
    else:
        for path in sorted((ROOT / "datasets" / "authored").glob("*.jsonl")):
            texts += [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]
    random.Random(0).shuffle(texts)
    return texts


def seconds(work: Callable[[], object], clock: Callable[[], float] = time.process_time) -> float:
    """Return how long a piece of work takes."""
    start = clock()
    work()
    return clock() - start


def compare(rounds: int, **works: tuple[Callable[[], object], int]) -> dict[str, float]:
    """Let all take turns; return the median processor seconds per comment of each."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds + 1):
        for name, (work, count) in works.items():
            times[name].append(seconds(work) / count)
    return {name: statistics.median(found[1:]) for name, found in times.items()}  # the first round warms up


def one_core(texts: list[str], rounds: int) -> tuple[list[Line], dict[str, Any]]:
    """Compare one core's scoring with scikit-learn, fastText and the hash loop."""
    from training.pipeline import pipeline_of

    scorer = Scorer.load()
    pipeline = pipeline_of(scorer.bundle)
    few, some = texts[:500], texts[:10_000]
    works: dict[str, tuple[Callable[[], object], int]] = {
        "ours": (lambda: scorer.predict_proba(texts), len(texts)),
        "scikit_learn": (lambda: pipeline.predict_proba(few), len(few)),
    }
    if kernel.COMPILED is not None:
        whole = tuple(texts)
        floor = scorer._path._kernel.hash_texts  # type: ignore[attr-defined]
        works["hashing"] = (lambda: floor(whole), len(texts))
    model = fasttext_model(texts[:20_000])
    if model is not None:
        lines = [" ".join(text.split()) for text in some]
        works["fasttext"] = (lambda: model.f.multilinePredict(lines, 2, 0.0, "strict"), len(lines))
    found = compare(rounds, **works)
    ours = found["ours"]
    rate = f"{1 / ours:,.0f} comments/s against {{:,.0f}}"
    lines_out = [
        Line("scoring, one core, against scikit-learn's pipeline", found["scikit_learn"] / ours, "≥50",
             note=rate.format(1 / found["scikit_learn"]))
    ]  # fmt: skip
    if "fasttext" in found:
        lines_out.append(
            Line("… against fastText with subwords", found["fasttext"] / ours, "≥5", note=rate.format(1 / found["fasttext"]))
        )  # fmt: skip
    if "hashing" in found:
        lines_out.append(Line("… against only hashing each n-gram once", ours / found["hashing"], "≤3"))
    return lines_out, found


def fasttext_model(texts: Sequence[str]) -> Any:
    """Train a small fastText classifier with subwords of 2 to 5 characters and word pairs; None without the extra."""
    try:
        import floret
    except ImportError:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.txt"
        rows = [f"__label__{k % 2} {' '.join(text.split())}" for k, text in enumerate(texts)]
        path.write_text("\n".join(rows), encoding="utf-8")
        return floret.train_supervised(
            str(path), mode="fasttext", minn=2, maxn=5, wordNgrams=2, dim=100, epoch=1, thread=1, verbose=0
        )


PROFANITY = """
import json, sys, time, statistics
from profanity_check import predict_prob
texts = json.load(open(sys.argv[1]))
times = []
for _ in range(4):
    start = time.process_time(); predict_prob(texts); times.append(time.process_time() - start)
print(statistics.median(times[1:]) / len(texts))
"""


def profanity_check(texts: list[str], home: Path) -> list[Line]:
    """Compare with alt-profanity-check, which runs in an environment of its own; both in turn."""
    from training.rivals import RivalFailed, RivalScorer

    try:
        RivalScorer("alt-profanity-check", home)
    except RivalFailed as error:
        print(f"alt-profanity-check is left out: {error}", file=sys.stderr)
        return []
    some, scorer = texts[:10_000], Scorer.load()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "texts.json"
        path.write_text(json.dumps([text.encode("utf-8", "replace").decode() for text in some]))
        command = [str(home / "alt-profanity-check" / "bin" / "python"), "-W", "ignore", "-c", PROFANITY, str(path)]
        theirs, ours = [], []
        for _ in range(3):
            theirs.append(float(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
            ours.append(seconds(lambda: scorer.predict_proba(some)) / len(some))
    them, us = statistics.median(theirs), statistics.median(ours)
    note = f"{1 / us:,.0f} comments/s against {1 / them:,.0f}"
    return [Line("… against alt-profanity-check", them / us, "≥4", note=note)]


def threads(texts: list[str], rounds: int) -> list[Line]:
    """Compare two threads that share a scorer with one, on the same comments."""
    scorer, half = Scorer.load(), len(texts) // 2
    ratios = []
    with ThreadPoolExecutor(2) as pool:
        for _ in range(rounds + 1):
            one = seconds(lambda: scorer.predict_proba(texts), time.perf_counter)
            parts = (texts[:half], texts[half:])
            two = seconds(lambda parts=parts: list(pool.map(scorer.predict_proba, parts)), time.perf_counter)  # type: ignore[misc]
            ratios.append(one / two)
    return [Line("two threads against one", statistics.median(ratios[1:]), "≥1.8")]


def single(texts: list[str]) -> list[Line]:
    """Measure one comment in a warm process, long comments, explanations and loading."""
    scorer = Scorer.load()
    everything = " ".join(texts)
    usual = everything[:300]

    def median(work: Callable[[], object], times: int) -> float:
        return statistics.median(seconds(work, time.perf_counter) for _ in range(times))

    for text in texts[:5_000]:
        scorer.score(text)
    scoring = median(lambda: scorer.score(usual), 5_000)
    explaining = median(lambda: scorer.explain(usual), 2_000)
    twenty = median(lambda: scorer.score(everything[:20_000]), 200)
    mega = median(lambda: scorer.score(everything[:1_000_000]), 9)
    loading = median(lambda: load_bundle(), 15)
    before = private_memory()
    kept = load_bundle()
    copied = (private_memory() - before) / 1e6
    assert kept.labels
    return [
        Line("one comment of 300 characters, warm", scoring * 1e6, "≤20", "µs"),
        Line("a comment of 20,000 characters", twenty * 1e3, "≤1", "ms"),
        Line("1,000,000 characters, time per character against 20,000", mega / 50 / twenty, "≤2"),
        Line("explaining against scoring", explaining / scoring, "≤10"),
        Line("loading the bundle", loading * 1e3, "≤50", "ms"),
        Line("memory of its own that loading takes", copied, "≤1", "MB", "the rest is mapped and shared"),
    ]


def private_memory() -> int:
    """Return the bytes that this process shares with no other, where the system tells."""
    try:
        status = Path("/proc/self/status").read_text()
    except FileNotFoundError:
        return 0
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssAnon"))


def start_up(rounds: int) -> list[Line]:
    """Compare the whole process for one comment with importing numpy."""
    program = [sys.executable, "-c", "from moderation.cli import main; main()", "score"]
    ours, numpy, peaks = [], [], []
    for _ in range(rounds + 1):
        numpy.append(seconds(lambda: subprocess.run([sys.executable, "-c", "import numpy"], check=True), children_time))
        ours.append(
            seconds(
                lambda: subprocess.run(program, input=b"You idiot.\n", stdout=subprocess.DEVNULL, check=True), children_time
            )
        )  # fmt: skip
    watcher = "import resource, sys\nfrom moderation.cli import main\ntry:\n    main()\nexcept SystemExit:\n    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", watcher, "score"], input=b"You idiot.\n", capture_output=True, check=True
    )
    peaks.append(int(done.stderr.split()[-1]) / 1024)
    ratio = statistics.median(ours[1:]) / statistics.median(numpy[1:])
    return [
        Line("`moderation score` of one comment against `import numpy`", ratio, "≤2.5"),
        Line("its memory", peaks[0], "≤80", "MB"),
    ]


def children_time() -> float:
    """Return the processor time that finished children have taken."""
    times = os.times()
    return times.children_user + times.children_system


REWRITE = """
import sys, orjson
with open(sys.argv[1], "rb") as source, open(sys.argv[2], "wb") as target:
    for line in source:
        target.write(orjson.dumps(orjson.loads(line), option=orjson.OPT_APPEND_NEWLINE))
"""


def archive(texts: list[str], rows: int, rounds: int) -> list[Line]:
    """Compare scoring a file of JSON lines with reading and rewriting it."""
    short = [text for text in texts if len(text) <= 250]
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.jsonl", Path(folder) / "out.jsonl"
        with source.open("w", encoding="utf-8") as file:
            for k in range(rows):
                text = short[k % len(short)] + (f" no {k}" if k >= len(short) else "")
                row = {"id": f"c{k}", "author": f"reader {k % 5_000}", "created": "2026-11-01T12:00:00Z", "text": text}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        program = [
            sys.executable,
            "-c",
            "from moderation.cli import main; main()",
            "score",
            str(source),
            "-o",
            str(target),
        ]
        rewrite = [sys.executable, "-c", REWRITE, str(source), str(target)]
        ours, theirs, peak = [], [], 0.0
        for _ in range(rounds):
            theirs.append(seconds(lambda: subprocess.run(rewrite, check=True), time.perf_counter))
            start = time.perf_counter()
            with subprocess.Popen(program, stderr=subprocess.DEVNULL) as process:
                peak = max(peak, watch_memory(process))
            ours.append(time.perf_counter() - start)
    us, them = statistics.median(ours), statistics.median(theirs)
    return [
        Line(f"`moderation score` of {rows:,} comments", rows / us, "≥100000", "comments/s"),
        Line(
            "… against reading and rewriting them with orjson", us / them, "≤3", note=f"{us:.1f} s against {them:.1f} s"
        ),
        Line("… memory of all its processes", peak, "≤300", "MB"),
    ]


def watch_memory(process: subprocess.Popen[bytes]) -> float:
    """Return the most megabytes that a process and its children hold together, pages they share counted once."""
    most = [0.0]

    def look() -> None:
        while process.poll() is None:
            tree = [process.pid, *children_of(process.pid)]
            most[0] = max(most[0], sum(map(proportional_memory, tree)))
            time.sleep(0.1)

    watcher = threading.Thread(target=look)
    watcher.start()
    process.wait()
    watcher.join()
    return most[0]


def children_of(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def proportional_memory(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)


def draw(lines: Sequence[Line], path: Path) -> None:
    """Draw how far each measure is beyond its goal, on a logarithmic axis."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 0.42 * len(lines) + 1))
    for place, line in enumerate(reversed(lines)):
        bound = float(line.goal[1:])
        beyond = line.value / bound if line.goal.startswith("≥") else bound / max(line.value, 1e-9)
        axes.barh(place, min(beyond, 100) - 1, left=1, color="tab:green" if line.met else "tab:red")
    axes.set_yticks(range(len(lines)), [f"{line.measure} ({line.goal} {line.unit})" for line in reversed(lines)])
    axes.set_xscale("log")
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xlabel("times better than the goal")
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--corpora", type=Path, help="folder of the public corpora; default: our own comments")
    parser.add_argument("--output", "-o", type=Path, default=ROOT / "runs" / "speed")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=1_000_000, help="comments in the archive")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    texts = comments(options.corpora)
    length = statistics.mean(map(len, texts))
    lines, times = one_core(texts, options.rounds)
    lines[2:2] = profanity_check(texts, options.output / "rivals")
    lines += threads(texts, options.rounds) + single(texts) + start_up(options.rounds)
    lines += archive(texts, options.rows, min(3, options.rounds))
    print(f"{len(texts):,} comments of {length:.0f} characters, {os.cpu_count()} processors, Python "
          f"{platform.python_version()}, {'compiled kernel' if kernel.COMPILED else 'pure path'}\n")  # fmt: skip
    print("| measure | found | goal | met |\n|---|--:|--:|---|")
    for line in lines:
        print(f"| {line.measure} | {line.value:,.3g} {line.unit} | {line.goal} | {'yes' if line.met else 'NO'} | {line.note}"
              if line.value < 1000 else
              f"| {line.measure} | {line.value:,.0f} {line.unit} | {line.goal} | {'yes' if line.met else 'NO'} | {line.note}")  # fmt: skip
    record = {"characters": length, "processors": os.cpu_count(), "python": platform.python_version(),
              "machine": platform.machine(), "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
              "seconds_per_comment": times, "lines": [asdict(line) | {"met": line.met} for line in lines]}  # fmt: skip
    (options.output / "speed.json").write_text(
        json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    draw(lines, options.output / "speed.png")


if __name__ == "__main__":
    main()
