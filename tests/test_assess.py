"""Measuring on labelled files of one's own, as the command line shows it: nothing is left out without a word."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import auc, average_precision_score

from moderation import Scorer
from moderation.bundle import Bundle, save_bundle
from moderation.errors import InputError
from training import cli
from training.assess import Assessment, text_table
from training.corpora import LABELS
from training.evaluate import LabelledSet, compare, evaluate

Evaluate = Callable[..., tuple[int, str, str]]
"""Takes the files and options; returns exit code, standard output and standard error."""


@pytest.fixture
def evaluated(
    bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Evaluate:
    """Run ``python -m training evaluate`` with the small model in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        options = ["training", "evaluate", *arguments, "-o", "out", "--bundle", str(bundle_folder)]
        monkeypatch.setattr(sys, "argv", options)
        try:
            cli.main()
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        return code, *capsys.readouterr()

    return run


def table(header: str, *lines: str, path: str = "site.csv") -> None:
    Path(path).write_text("\n".join([header, *lines]) + "\n")


def rows(one: object = 1, zero: object = 0, each: int = 6) -> list[str]:
    """Return lines of id, text and a label."""
    harmful = [f"a{k},you pathetic idiot number {k},{one}" for k in range(each)]
    return harmful + [f"b{k},a fine day number {k},{zero}" for k in range(each)]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("toxic", "'toxic'"),
        ("0.9", "'0.9'"),
        ("2", "'2'"),
        ("-1", "'-1'"),
        ("Y", "'Y'"),
        ("you are all pathetic liars", "26 characters"),
    ],
)
def test_a_label_that_is_not_understood_is_refused(value: str, shown: str, evaluated: Evaluate) -> None:
    table("id,text,abuse", *rows(), f"c,another,{value}")
    expected = "1, 0, true, false, yes, no or nothing"
    assert evaluated("site.csv") == (2, "", f"error: site.csv, line 14: abuse: expected {expected}, got {shown}\n")


def test_the_first_bad_label_of_a_json_file_is_named(evaluated: Evaluate) -> None:
    lines = ['{"text": "a", "incitement": 1}', '{"text": "b", "abuse": [1]}', '{"text": "c", "incitement": 0.5}']
    Path("site.jsonl").write_text("\n".join(lines))
    code, _, said = evaluated("site.jsonl")
    assert (code, said.count("\n")) == (2, 1)
    assert said.startswith("error: site.jsonl, line 2: abuse: expected 1, 0, ")
    assert said.endswith("got list\n")


@pytest.mark.parametrize(("one", "zero"), [(" 1 ", " 0"), ("True", "FALSE"), ("1.0", "0.0"), ("yes", "no")])
def test_labels_are_read_as_files_have_them(one: str, zero: str, evaluated: Evaluate) -> None:
    table("id,text, Abuse ", *rows(one, zero), "c,who knows,")
    code, out, said = evaluated("site.csv")
    assert (code, said) == (0, "")
    assert out.splitlines()[1].split()[:4] == ["site", "abuse", "12", "6"]


def test_two_columns_of_one_label_are_refused(evaluated: Evaluate) -> None:
    table("text,abuse,Abuse", "a,1,0")
    assert evaluated("site.csv")[::2] == (
        2,
        "error: site.csv, line 2: two fields are named 'abuse'; rename one of them\n",
    )


def test_what_is_left_out_is_said(evaluated: Evaluate) -> None:
    lines = [f"{line},1,,0,," for line in rows()] + [" e1,  ,1,1,,1,,", 'e2,"",0,1,,1,,']
    lines += ["r1,twice,1,1,,0,,", "r2,twice,0,1,,0,,"]
    table("id,text,abuse,threat,incitment,profanity,thread,likes", *lines)
    code, out, said = evaluated("site.csv")
    assert code == 0
    assert out.splitlines()[1].split()[:4] == ["site", "abuse", "14", "7"]
    assert said.splitlines() == [
        "site.csv: 2 rows without text left out",
        "site.csv: 1 text repeats; it counts each time",
        "site.csv: left out: threat, 14 rows with it and 0 without; 5 of each are needed",
        "site.csv: left out: profanity, which the model does not know",
        "site.csv: left out: incitment, which is no label; is incitement meant?",
    ]


def test_a_file_without_a_label_tells_what_it_has(evaluated: Evaluate) -> None:
    table("id,text,toxicity,abuse", *(line.replace(",1", ",1,1").replace(",0", ",0,1") for line in rows()))
    assert evaluated("site.csv")[::2] == (
        2,
        "error: site.csv: no label with at least 5 rows of each kind (abuse: 12 with it, 0 without) among the columns "
        "id, text, toxicity, abuse; labels are incitement, abuse, threat\n",
    )
    table("id,text,incitment", *rows(), path="b.csv")
    assert "among the columns id, text, incitment (is incitement meant?); labels are" in evaluated("b.csv")[2]


def test_files_without_a_label_are_all_told(evaluated: Evaluate) -> None:
    table("id,text,toxicity", *rows())
    Path("b.csv").write_text("id,text\n")
    code, _, said = evaluated("site.csv", "b.csv")
    assert code == 2
    assert (
        "site.csv: no label with at least 5 rows of each kind among the columns id, text, toxicity; b.csv: no" in said
    )
    assert "each kind in no rows; labels are" in said


def test_a_file_that_adds_nothing_is_named(evaluated: Evaluate) -> None:
    table("id,text,abuse", *rows())
    table("id,text,toxicity", *rows(), path="b.csv")
    said = "b.csv: left out: no label with at least 5 rows of each kind among the columns id, text, toxicity\n"
    assert evaluated("site.csv", "b.csv")[::2] == (0, said)


class Fixed:
    """A predictor whose scores are its texts."""

    def __init__(self, *labels: str) -> None:
        self.labels = labels

    def predict_proba(self, texts: Sequence[str]) -> NDArray[np.float64]:
        return np.array([[float(text)] * len(self.labels) for text in texts])


def scored(scores: NDArray[np.float64], truth: NDArray[np.int8]) -> LabelledSet:
    unknown = np.full(len(truth), -1, np.int8)
    truths = {label: truth if label == "abuse" else unknown for label in LABELS}
    texts, blanks = [str(score) for score in scores], [""] * len(truth)
    return LabelledSet("site", [f"id{k}" for k in range(len(truth))], texts, truths, blanks, blanks)


@pytest.mark.parametrize("positives", [20, 31, 100, 1000])
@pytest.mark.parametrize("shift", [0.5, 1.5, 3.0])
def test_the_curve_keeps_the_area_of_rare_labels(positives: int, shift: float) -> None:
    random = np.random.default_rng(positives)
    truth = np.array([1] * positives + [0] * 20_000, np.int8)
    scores = 1 / (1 + np.exp(-(random.normal(size=len(truth)) + shift * truth - 2)))
    curve = evaluate(Fixed("abuse"), [scored(scores, truth)])["site"]["abuse"]["curve"]
    recall, precision = zip(*curve, strict=True)
    assert auc(recall, precision) == pytest.approx(average_precision_score(truth, scores), abs=0.015)
    assert list(recall) == sorted(recall)
    assert (recall[0], precision[0]) == (0, precision[1])  # no point that is not measured
    assert recall[-1] == 1
    assert len(curve) <= 61


def test_worst_errors_are_errors() -> None:
    scores = np.array([0.9] * 5 + [0.2] + [0.1] * 5 + [0.5, 0.8])
    truth = np.array([1] * 6 + [0] * 7, np.int8)
    worst = evaluate(Fixed("abuse"), [scored(scores, truth)])["site"]["abuse"]["worst"]
    assert worst == {"missed": [("id5", 0.2)], "raised": [("id12", 0.8), ("id11", 0.5)]}


def test_the_terminal_shows_the_comparison(evaluated: Evaluate, small_bundle: Bundle, tmp_path: Path) -> None:
    other = {**small_bundle.manifest, "model_id": "en-0"}
    save_bundle(replace(small_bundle, manifest=other, weights=-small_bundle.weights), tmp_path / "other")
    table("id,text,abuse", *rows())
    code, out, said = evaluated("site.csv", "--compare", "other")
    kept = json.loads(Path("out/metrics.json").read_text())
    values = kept["comparison"]["site"]["abuse"]
    assert (code, said, kept["compared_with"]) == (0, "", Scorer.load(tmp_path / "other").model_id)
    assert values["difference"] == pytest.approx(values["first"] - values["second"])
    assert values["low"] <= values["difference"] <= values["high"]
    head, line = out.split("\n\n")[1].splitlines()[:2]
    assert head.split() == ["set", "label", kept["model_id"], kept["compared_with"], "difference", "95", "%"]
    assert line.split()[:3] == ["site", "abuse", f"{values['first']:.3f}"]
    assert line.split()[4:] == [f"{values['difference']:+.4f}", f"{values['low']:+.4f}", "to", f"{values['high']:+.4f}"]


def test_models_without_a_common_label() -> None:
    truth = np.array([1] * 5 + [0] * 5, np.int8)
    site = scored(np.linspace(0, 1, 10), truth)
    results = {
        "model_id": "a",
        "compared_with": "b",
        "evaluation": evaluate(Fixed("abuse"), [site]),
        "comparison": compare(Fixed("abuse"), Fixed("threat"), [site]),
    }
    assert text_table(results).endswith("\n\nno label that b knows too")


def test_an_input_that_is_windows_1252(bundle_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "site.csv").write_bytes("id,text,abuse\n1,café,0\n".encode("cp1252"))
    with pytest.raises(
        InputError, match="site.csv, line 2: not UTF-8; if .* iconv -f WINDOWS-1252 -t UTF-8 makes it so"
    ):
        Assessment(bundle_folder, None, [], tmp_path).of_files([tmp_path / "site.csv"], None, None)
