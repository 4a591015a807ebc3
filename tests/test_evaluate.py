"""Measuring a model: on corpora, on a site's own file, against rivals and another model, into one page."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from moderation import Scorer
from moderation.errors import InputError
from training import rivals
from training.assess import Assessment, write_assessment
from training.bias import IDENTITIES, NEUTRAL, fill, identity_table
from training.corpora import LABELS, Row
from training.evaluate import LabelledSet, compare, evaluate
from training.evasion import ATTACKS, evasion_table
from training.own import Annotation, agreement, problems
from training.report import make_report
from training.splits import Table


class WordCounter:
    """A predictor whose scores a reader can check: the share of words that are in a list."""

    labels = ("incitement", "abuse")

    def __init__(self, *words: str) -> None:
        self.words = set(words)

    def predict_proba(self, texts: Sequence[str]) -> NDArray[np.float64]:
        shares = [len(self.words & set(text.lower().split())) / 4 for text in texts]
        return np.clip(np.array([shares, shares]).T, 0, 1)


def labelled(name: str = "site") -> LabelledSet:
    harmful, harmless = ["burn it now"] * 6, ["water it now"] * 6
    truth = np.array([1] * 6 + [0] * 6, np.int8)
    unknown = np.full(12, -1, np.int8)
    truths = {label: truth if label == "incitement" else unknown for label in LABELS}
    pairs = [f"p{k}" for k in range(6)] * 2
    return LabelledSet(name, [f"id{k}" for k in range(12)], harmful + harmless, truths, ["fire"] * 12, pairs)


def test_evaluates_what_is_known() -> None:
    found = evaluate(WordCounter("burn"), [labelled()], thresholds=dict.fromkeys(LABELS, 0.2))
    assert set(found["site"]) == {"incitement"}
    values = found["site"]["incitement"]
    assert (values["rows"], values["positives"], values["auc"]) == (12, 6, 1.0)
    assert values["at_threshold"]["f1"] == pytest.approx(1)
    assert values["pairs"] == (6, 6)
    assert values["cases"] == {
        "fire / harmful": {"rows": 6, "right": 1.0},
        "fire / harmless": {"rows": 6, "right": 1.0},
    }
    assert {found_id for found_id, _ in values["worst"]["missed"]} <= {f"id{k}" for k in range(6)}


def test_compares_two_models() -> None:
    found = compare(WordCounter("now"), WordCounter("burn"), [labelled()])["site"]["incitement"]
    assert (found["first"], found["second"], found["difference"]) == (0.5, 1.0, 0.5)
    assert found["low"] > 0


class Links(HTMLParser):
    """Collect what a page would load from elsewhere, and the ids that its links lead to."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.ids: set[str] = set()
        self.targets: set[str] = set()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for key, value in attributes:
            if key == "id":
                self.ids.add(str(value))
            if key == "href" and tag == "a":
                self.targets.add(str(value).removeprefix("#"))
            elif key in ("src", "href") and not str(value).startswith("#"):
                self.loads.append(str(value))


def test_the_report_stands_alone_and_escapes() -> None:
    hostile = labelled("<script>alert(1)</script>")
    results = {
        "model_id": "<b>m</b>",
        "evaluation": evaluate(WordCounter("burn"), [hostile, labelled()]),
        "comparison": compare(WordCounter("now"), WordCounter("burn"), [labelled()]),
        "bias": {"<i>": {"x": 0.5}},
    }
    page = make_report(results)
    links = Links()
    links.feed(page)
    assert links.loads == []
    assert links.targets <= links.ids
    assert "<script" not in page
    assert "<b>m</b>" not in page
    assert page.count("<svg") == 6
    assert page == make_report(results)


@pytest.fixture
def site_file(tmp_path: Path) -> Path:
    path = tmp_path / "site.csv"
    lines = [f"{k},you pathetic idiot number {k},1" for k in range(8)] + [f"{k},a fine day {k},0" for k in range(8)]
    path.write_text("\n".join(["id,text,abuse", *lines, "99,who knows,"]) + "\n")
    return path


def test_a_file_of_ones_own(site_file: Path, bundle_folder: Path, tmp_path: Path) -> None:
    results = Assessment(None, bundle_folder, [], tmp_path).of_files([site_file], None, None)
    values = results["evaluation"]["site"]["abuse"]
    assert (values["rows"], values["positives"]) == (16, 8)
    assert values["auc"] > 0.95
    assert "site" in results["comparison"]
    write_assessment(results, tmp_path / "out")
    kept = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert kept["evaluation"]["site"]["abuse"]["rows"] == 16
    assert (tmp_path / "out" / "report.html").read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id,text\n1,a\n", "no label with at least 5 rows of each kind"),
        ("id,text\n1\n", "site.csv, line 2: expected 2"),
    ],
)
def test_a_file_that_cannot_be_used(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "site.csv").write_text(content)
    with pytest.raises(InputError, match=message):
        Assessment(None, None, [], tmp_path).of_files([tmp_path / "site.csv"], None, None)


def test_an_unknown_rival() -> None:
    with pytest.raises(InputError, match="rival: expected one of alt-profanity-check"):
        rivals.RivalScorer("nobody", Path())


def test_a_rival_runs_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A rival of our own making, in an environment that is this one: what crosses over is texts and numbers.
    (tmp_path / "mine" / "bin").mkdir(parents=True)
    (tmp_path / "mine" / "bin" / "python").symlink_to(sys.executable)
    mine = rivals.Rival("pip", "scores = ['burn' in text for text in texts]")
    monkeypatch.setitem(rivals.RIVALS, "mine", mine)
    scorer = rivals.RivalScorer("mine", tmp_path)
    assert scorer.predict_proba(["burn it", "a \ud800", "ü"]).tolist() == [[1.0], [0.0], [0.0]]
    monkeypatch.setitem(rivals.RIVALS, "mine", rivals.Rival("pip", "raise SystemExit('out of order')"))
    with pytest.raises(rivals.RivalFailed, match="mine: out of order"):
        rivals.RivalScorer("mine", tmp_path).predict_proba(["a"])


def test_identities_are_put_in_with_the_right_article() -> None:
    sentences = fill(NEUTRAL, "Asian")
    assert "I am an Asian woman and I work at the post office." in sentences
    assert "An Asian student won the mathematics prize this year." in sentences
    assert fill(NEUTRAL, "deaf")[-1].startswith("Deaf residents")


def test_the_identity_table_sees_a_biased_model() -> None:
    table = identity_table(WordCounter("gay", "{}", "vermin"))
    assert set(table) == {word for group in IDENTITIES.values() for word in group}
    assert table["gay"]["counterfactual gap"] > table["deaf"]["counterfactual gap"]
    assert table["gay"]["highest neutral abuse"] == 0.25


def test_attacks_change_words_but_keep_them_readable() -> None:
    text = "somebody should burn their houses tonight, people"
    for name, attack in ATTACKS.items():
        changed = attack(text, random.Random(0))
        assert (changed == text) == (name == "clean")
        assert len(changed) >= len(text) * 0.8


def test_the_normaliser_undoes_the_invisible_attacks(shipped: Scorer) -> None:
    text = "somebody should burn down their houses tonight"
    clean = shipped.predict_proba([text])
    for name in ("zero-width", "look-alikes"):
        assert np.array_equal(shipped.predict_proba([ATTACKS[name](text, random.Random(0))]), clean), name


def authored(number: int, text: str, *labels: str, case: str = "c", pair: str | None = None) -> Row:
    known: dict[str, float | None] = {label: int(label in labels) for label in LABELS}
    return Row("authored", f"{case}-{number}", text, None, known, None, None, case, {"pair": pair, "voice": "calm"})


def test_evasion_is_measured_on_our_own_comments() -> None:
    rows = [authored(1, "please burn everything", "incitement", "abuse"), authored(2, "water the garden")]
    labels = np.array([[int(row.labels[label] or 0) for label in LABELS] for row in rows], np.int8)
    table = Table(rows, [row.text for row in rows], labels, np.array(["test", "test"]))
    found = evasion_table(WordCounter("burn", "please", "everything"), table)
    assert found["clean"] == {"incitement recall": 1.0, "abuse recall": 1.0, "harmless flagged": 0.0}
    assert found["look-alikes"]["incitement recall"] == 0.0


def test_problems_of_our_own_comments() -> None:
    words = "the bridge over the river has been closed again since early this morning"
    rows = [
        authored(1, words),
        authored(2, words + " and we wait"),
        authored(3, words.replace("closed", "burnt"), "incitement", pair="p1", case="d"),
        authored(4, words.replace("closed", "burnt") + "!", pair="p1", case="d"),
        authored(5, "Nothing like the others at all.", pair="p2"),
        authored(6, "Something else entirely, my friend.", "insult"),
    ]
    found = problems(rows)
    assert "c-2: nearly a copy of c-1" in found
    assert not [line for line in found if line.startswith("d-4: nearly a copy of d-3")]
    assert "c, pair p2: expected two comments that differ in incitement or abuse, got 1" in found
    assert "c-6: insult without abuse" in found


def test_our_own_comments_have_no_problems(request: pytest.FixtureRequest) -> None:
    from training.own import read_authored

    found = problems(read_authored(Path(request.config.rootpath) / "datasets" / "authored"))
    assert found == []


def test_kappa_by_hand() -> None:
    # 20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no: same .7, chance .5, kappa .4 (the usual textbook table).
    pairs = [(1, 1)] * 20 + [(1, 0)] * 5 + [(0, 1)] * 10 + [(0, 0)] * 15
    judged = [
        Annotation("c", str(k), {"abuse": value}, who, "high")
        for k, (one, two) in enumerate(pairs)
        for who, value in (("a1", one), ("b1", two))
    ]
    found = agreement(judged, "a", "b")
    assert found == {"abuse": {"rows": 50, "same": 0.7, "kappa": pytest.approx(0.4)}}
