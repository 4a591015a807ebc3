"""Measuring a model: on corpora, on a site's own file, against rivals and another model, into one page."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from moderation import Policy, Scorer
from moderation.bundle import Bundle, save_bundle
from moderation.errors import InputError
from training import cli, rivals
from training.assess import Assessment, text_table, write_assessment
from training.bias import IDENTITIES, NEUTRAL, fill, identity_table
from training.corpora import LABELS, Row
from training.crossval import cross_validate
from training.evaluate import LabelledSet, compare, evaluate
from training.evasion import ATTACKS, evasion_table
from training.goals import DEFAULT_POLICY
from training.own import Annotation, agreement, problems
from training.report import make_report
from training.splits import Table
from training.train import TrainSettings


class WordCounter:
    """A predictor whose scores a reader can check: the share of words that are in a list."""

    labels = ("incitement", "abuse")

    def __init__(self, *words: str) -> None:
        self.words = set(words)

    def predict_proba(self, texts: Sequence[str]) -> NDArray[np.float64]:
        shares = [len(self.words & set(text.lower().split())) / 4 for text in texts]
        return np.clip(np.array([shares, shares]).T, 0, 1)


class OneLabel(WordCounter):
    """The same for a model that knows one label."""

    def __init__(self, label: str, *words: str) -> None:
        super().__init__(*words)
        self.labels = (label,)  # type: ignore[assignment]

    def predict_proba(self, texts: Sequence[str]) -> NDArray[np.float64]:
        return super().predict_proba(texts)[:, :1]


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


def test_measures_do_not_depend_on_the_installed_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Policy:
        raise AssertionError("the installed policy was read")

    monkeypatch.setattr(Policy, "load", refuse)
    found = evaluate(WordCounter("burn"), [labelled()])["site"]["incitement"]
    assert found["at_threshold"]["threshold"] == 0.5
    assert identity_table(WordCounter("gay"))["gay"]["neutral flagged"] == 0
    assert identity_table(WordCounter("gay"), thresholds={"abuse": 0.25})["gay"]["neutral flagged"] > 0
    table = own_table()
    assert evasion_table(WordCounter("burn"), table)["clean"]["abuse recall"] == 0
    assert evasion_table(WordCounter("burn"), table, thresholds={"abuse": 0.25})["clean"]["abuse recall"] == 1


def test_calibration_counts_at_the_models_own_base_rate() -> None:
    # A quarter of the harmful score .25 and the harmless 0: at a rate of .4 the gap is .4 * .75.
    found = evaluate(WordCounter("burn"), [labelled()], base_rates={"incitement": 0.4})["site"]["incitement"]
    assert found["calibration_error"] == pytest.approx(0.3)
    assert evaluate(WordCounter("burn"), [labelled()])["site"]["incitement"]["calibration_error"] == pytest.approx(
        0.0075
    )


def test_thresholds_and_base_rates_come_from_the_models_own_manifest(
    small_bundle: Bundle, bundle_folder: Path, tmp_path: Path
) -> None:
    goal = DEFAULT_POLICY["incitement"]["review"]
    manifest = {
        **small_bundle.manifest,
        "operating_points": {"incitement": {goal: {"threshold": 0.12345}}},
        "calibration": {"method": "Platt", "base_rates": {"incitement": 0.3}},
    }
    save_bundle(replace(small_bundle, manifest=manifest), tmp_path / "own")
    results = Assessment(tmp_path / "own", None, [], tmp_path).of_sets([labelled()])
    assert results["thresholds"] == {"incitement": 0.123, "abuse": 0.5, "threat": 0.5}
    assert results["base_rates"]["incitement"] == 0.3
    assert results["evaluation"]["site"]["incitement"]["at_threshold"]["threshold"] == 0.123
    write_assessment(results, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["thresholds"]["incitement"] == 0.123
    assert "<td>0.123</td>" in (tmp_path / "out" / "report.html").read_text()
    without = Assessment(bundle_folder, None, [], tmp_path).of_sets([labelled()])
    assert set(without["thresholds"].values()) == {0.5}


def test_the_text_table_shows_pairs_where_there_are_some() -> None:
    thresholds = dict.fromkeys(LABELS, 0.2)
    alone = replace(labelled("alone"), pairs=[""] * 12)
    both = evaluate(WordCounter("burn"), [labelled(), alone], thresholds=thresholds)
    head, first, second = text_table({"evaluation": both}).splitlines()
    assert head.endswith("pairs")
    assert first.endswith(" 6/6")
    assert "/" not in second
    assert "pairs" not in text_table({"evaluation": {"alone": both["alone"]}})


def test_compares_two_models() -> None:
    found = compare(WordCounter("now"), WordCounter("burn"), [labelled()])["site"]["incitement"]
    assert (found["first"], found["second"], found["difference"]) == (0.5, 1.0, -0.5)
    assert found["high"] < 0


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


def test_files_of_one_name_are_kept_apart(site_file: Path, bundle_folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "b" / "site.csv"
    other.parent.mkdir()
    other.write_bytes(site_file.read_bytes())
    results = Assessment(bundle_folder, None, [], tmp_path).of_files([site_file, other], None, None)
    assert set(results["evaluation"]) == {str(site_file), str(other)}
    again = Assessment(bundle_folder, None, [], tmp_path).of_files([site_file, site_file], None, None)
    assert set(again["evaluation"]) == {"site"}


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


def run(arguments: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """Run the command line and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["training", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(str(ended.value.code))


def without_corpora(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let no corpora be found, wherever the tests run."""
    monkeypatch.delenv("MODERATION_CORPORA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["crossval", "--char-ngrams", "0", "9"], "--char-ngrams: expected 1 <= fewest <= most <= 8, got 0 9"),
        (["crossval", "--word-ngrams", "2", "1"], "--word-ngrams: expected 1 <= fewest <= most <= 8, got 2 1"),
        (["crossval", "--label", "nonsense"], "--label: expected incitement, abuse, threat"),
        (["curve", "--label", "nonsense"], "--label: expected incitement, abuse, threat"),
        (["curve", "--grow", "theirs"], "--grow: expected own, public, got 'theirs'"),
        (["curve", "--sizes", "100,many"], "--sizes: expected whole numbers from 1, got '100,many'"),
        (["crossval", "-C", "0"], "-C: expected a number above 0, got 0"),
        (["crossval", "--own-factor", "nan"], "--own-factor: expected a number above 0, got nan"),
        (["train", "--run", "R", "--tiers", "opne"], "--tiers: expected open, unstated, noncommercial, got 'opne'"),
        (["train", "--run", "R", "--tiers", ""], "--tiers: expected open, unstated, noncommercial, got ''"),
        (
            ["evaluate", "--output", "R", "--bundle", "no-such", "--rivals", "nobody"],
            "--rivals: expected alt-profanity-check, better-profanity, got 'nobody'",
        ),
    ],
)
def test_options_are_checked_before_anything_is_read(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)  # where there are neither data sets nor models
    assert run(arguments, monkeypatch) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ValueError("abuse: expected rows\nwith the label"), 1, "error: abuse: expected rows with the label\n"),
        (InputError("row 3"), 2, "error: row 3\n"),
    ],
)
def test_training_that_fails_ends_in_a_sentence(
    error: Exception,
    code: int,
    said: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("training.train.train", fail)
    without_corpora(monkeypatch, tmp_path)
    datasets = str(Path(request.config.rootpath) / "datasets")
    arguments = ["train", "--run", str(tmp_path / "run"), "--cache", str(tmp_path), "--datasets", datasets]
    assert run([*arguments, "--tiers", "open, unstated"], monkeypatch) == code
    corpora, error_said = capsys.readouterr().err.splitlines(keepends=True)
    assert corpora.startswith("0 corpora in ")
    assert error_said == said


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


def test_tables_leave_out_what_a_model_does_not_know() -> None:
    only_abuse = identity_table(OneLabel("abuse", "vermin"))["gay"]
    assert set(only_abuse) == {"highest neutral abuse", "neutral flagged", "counterfactual gap", "attacks flagged"}
    assert set(identity_table(OneLabel("incitement"))["gay"]) == {"highest neutral incitement", "neutral flagged"}
    assert identity_table(OneLabel("threat")) == {}
    table = own_table()
    assert set(evasion_table(OneLabel("abuse", "burn"), table)["clean"]) == {"abuse recall", "harmless flagged"}
    assert evasion_table(OneLabel("threat"), table) == {}
    assert evasion_table(WordCounter("burn"), table.take(np.array([False, False]))) == {}
    assert set(evasion_table(WordCounter("burn"), table.take(np.array([False, True])))["clean"]) == {"harmless flagged"}


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


def own_table() -> Table:
    rows = [authored(1, "please burn everything", "incitement", "abuse"), authored(2, "water the garden")]
    labels = np.array([[int(row.labels[label] or 0) for label in LABELS] for row in rows], np.int8)
    return Table(rows, [row.text for row in rows], labels, np.array(["test", "test"]))


def test_evasion_is_measured_on_our_own_comments() -> None:
    found = evasion_table(WordCounter("burn", "please", "everything"), own_table())
    assert found["clean"] == {"incitement recall": 1.0, "abuse recall": 1.0, "harmless flagged": 0.0}
    assert found["look-alikes"]["incitement recall"] == 0.0


def test_a_trial_converges_as_far_as_the_shipped_model(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[TrainSettings] = []

    def keep(_: Table, settings: TrainSettings, __: str, *, jobs: int) -> dict[str, object]:
        tried.append(settings)
        return {"own": 0.5, "pairs": 0.5, "others": 0.5, "folds": {}}

    monkeypatch.setattr("training.crossval.cross_validate", keep)
    datasets = str(Path(request.config.rootpath) / "datasets")
    without_corpora(monkeypatch, tmp_path)
    assert run(["crossval", "--datasets", datasets, "-j", "1"], monkeypatch) == 0
    assert tried[0].fit.tolerance == TrainSettings().fit_violence.tolerance
    assert tried[0].fit == TrainSettings().fit_violence


def test_cross_validation_says_when_there_is_no_fold() -> None:
    with pytest.raises(
        ValueError, match="threat: expected a corpus with 15 rows with the label and 15 without, got none"
    ):
        cross_validate(own_table(), TrainSettings(), "threat")


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
