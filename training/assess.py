"""One assessment: a model, what it is set beside, and the rows it is measured on, into one set of results."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from moderation.formats.rows import Fields
from moderation.scorer import Scorer
from training.bias import identity_table, subgroup_table
from training.calibrate import BASE_RATES
from training.corpora import find_corpora, load_registry
from training.evaluate import NEWS_CORPORA, LabelledSet, against_perspective, compare, evaluate, sets_of
from training.evasion import evasion_table
from training.goals import default_thresholds
from training.labelled import nothing_to_measure, read_labelled, remarks
from training.report import make_report
from training.rivals import RivalScorer
from training.train import gather

MENTIONED = (NEWS_CORPORA, "hatecheck", "authored")
"""Sets on which comments that mention an identity are measured apart."""


@dataclass(frozen=True, slots=True)
class Assessment:
    """What is measured and against what."""

    bundle: Path | None
    """The model; None: the shipped one."""
    other: Path | None
    """Another model to compare with."""
    rivals: Sequence[str]
    """Names in `training.rivals.RIVALS`."""
    home: Path
    """Where the rivals' environments live."""

    def of_corpora(self, corpora: Path | None, datasets: Path, *, jobs: int = 1) -> dict[str, Any]:
        """Measure on the ``test`` part of all corpora that are there, with identities and evasion."""
        registry = load_registry(datasets / "registry.toml")
        table = gather(registry, find_corpora(corpora), datasets, ("open",), jobs=jobs).part("test")
        sets = sets_of(table)
        results = self.of_sets(sets)
        scorer = Scorer.load(self.bundle)
        results["perspective"] = against_perspective(scorer, table)
        results["bias"] = identity_table(scorer, thresholds=results["thresholds"])
        results["subgroups"] = {
            part.name: found for part in sets if part.name in MENTIONED and (found := subgroup_table(scorer, part))
        }
        results["evasion"] = evasion_table(scorer, table, thresholds=results["thresholds"])
        return results

    def of_files(self, files: Sequence[Path], text_field: str | None, id_field: str | None) -> dict[str, Any]:
        """Measure on labelled files; raise `InputError` where none has a usable label.

        A set is called by its file's name, or by the path as given where two files have one name. What is left out
        is said on standard error.
        """
        files, fields = list(dict.fromkeys(files)), Fields(text_field, id_field)
        apart = len({path.stem for path in files}) == len(files)
        found = [read_labelled(path, fields) for path in files]
        results = self.of_sets([replace(file.rows, name=file.path.stem) if apart else file.rows for file in found])
        labels = list(results["thresholds"])
        if not results["evaluation"]:
            raise nothing_to_measure(found, labels)
        sys.stderr.writelines(f"{line}\n" for file in found for line in remarks(file, labels))
        return results

    def of_sets(self, sets: Sequence[LabelledSet]) -> dict[str, Any]:
        """Measure on any labelled sets, at the thresholds and base rates of the model's own manifest.

        Rivals, which have neither, are measured at one half.
        """
        scorer = Scorer.load(self.bundle)
        manifest = scorer.bundle.manifest
        thresholds = default_thresholds(manifest.get("operating_points", {}), scorer.labels)
        stated = manifest.get("calibration", {}).get("base_rates", {})
        results: dict[str, Any] = {
            "model_id": scorer.model_id,
            "thresholds": thresholds,
            "base_rates": {label: rate for label, rate in (BASE_RATES | stated).items() if label in scorer.labels},
        }
        results["evaluation"] = evaluate(scorer, sets, thresholds=thresholds, base_rates=results["base_rates"])
        if self.other is not None:
            other = Scorer.load(self.other)
            results["compared_with"] = other.model_id
            results["comparison"] = compare(scorer, other, sets)
        if self.rivals:
            results["rivals"] = {
                name: {"evaluation": evaluate(RivalScorer(name, self.home), sets)} for name in self.rivals
            }
        results["table"] = text_table(results)
        return results


def text_table(results: Mapping[str, Any]) -> str:
    """Return the figures of a result as plain text; the last column says how many minimal pairs are in order.

    Below stands the comparison with another model, where there is one.
    """
    rivals: Mapping[str, Any] = results.get("rivals", {})
    evaluation: Mapping[str, Any] = results["evaluation"]
    width = max([26, *map(len, evaluation)]) + 2
    paired = any(values["pairs"][1] for labels in evaluation.values() for values in labels.values())
    lines = [f"{'set':<{width}}{'label':<18}{'rows':>8}{'pos.':>8}{'AUC':>8}{'95 %':>16}{'F1':>7}{'TNR':>7}{'ECE':>7}"]
    lines[0] += "".join(f"{name:>22}" for name in rivals) + (f"{'pairs':>12}" if paired else "")
    for name, labels in evaluation.items():
        for label, values in labels.items():
            low, high = values["auc_interval"]
            at = values["at_threshold"]
            line = f"{name:<{width}}{label:<18}{values['rows']:>8,}{values['positives']:>8,}{values['auc']:>8.3f}"
            line += f"{f'{low:.3f}-{high:.3f}':>16}{at['f1']:>7.3f}{at['true_negative_rate']:>7.3f}"
            line += f"{values['calibration_error_own_rate']:>7.3f}"
            theirs = [rivals[rival]["evaluation"].get(name, {}).get(label, {}).get("auc") for rival in rivals]
            line += "".join(f"{auc:>22.3f}" if auc is not None else " " * 22 for auc in theirs)
            right, pairs = values["pairs"]
            lines.append(f"{line}{f'{right}/{pairs}':>12}" if pairs else line)
    if "comparison" in results:
        lines += ["", *_comparison(results["comparison"], results["model_id"], results["compared_with"], width)]
    return "\n".join(lines)


def _comparison(comparison: Mapping[str, Any], this: str, other: str, width: int) -> list[str]:
    """Return lines with the AUC of both models and the difference, this less the other."""
    if not comparison:
        return [f"no label that {other} knows too"]
    left, right = max(len(this), 8) + 2, max(len(other), 8) + 2
    lines = [f"{'set':<{width}}{'label':<18}{this:>{left}}{other:>{right}}{'difference':>12}{'95 %':>20}"]
    for name, labels in comparison.items():
        for label, values in labels.items():
            line = f"{name:<{width}}{label:<18}{values['first']:>{left}.3f}{values['second']:>{right}.3f}"
            interval = f"{values['low']:+.4f} to {values['high']:+.4f}"
            lines.append(f"{line}{values['difference']:>+12.4f}{interval:>20}")
    return lines


def write_assessment(results: Mapping[str, Any], folder: Path) -> None:
    """Write ``metrics.json`` and ``report.html``."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = {name: value for name, value in results.items() if name != "table"}
    (folder / "metrics.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    (folder / "report.html").write_text(make_report(results), encoding="utf-8")
