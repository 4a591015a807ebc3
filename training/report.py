"""One self-contained HTML page from the measures: tables and plots that one would rather look at than read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import quote

from training.plots import plot_curve, plot_histogram, plot_reliability

STYLE = """
:root { color-scheme: light dark;
  --paper: light-dark(#ffffff, #181818); --ink: light-dark(#222222, #dddddd); --soft: light-dark(#595959, #a8a8a8);
  --rule: light-dark(#dddddd, #444444); --link: light-dark(#0b57b0, #8ab8f4); --visited: light-dark(#6a3093, #c9a5f0);
  --high: light-dark(#d9f0d3, #26482a); --low: light-dark(#fde0dd, #5a2a27);
  --line: light-dark(#b3390b, #ff9d5c); --fill: light-dark(#3d7ab8, #5b9bd5); }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 74rem; margin: 0 auto; padding: 1rem;
  background: var(--paper); color: var(--ink); overflow-wrap: anywhere; }
a { color: var(--link); } a:visited { color: var(--visited); }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
nav ul { columns: 15rem; column-gap: 1.5rem; padding-left: 1.2rem; }
nav p { margin: 0; font-weight: bold; } h2 { margin: 2.5rem 0 .5rem; line-height: 1.25; }
.note, figcaption { color: var(--soft); } .note { max-width: 46rem; }
.scroll { overflow-x: auto; margin: 1rem 0; } .beside { display: flex; flex-wrap: wrap; gap: 0 2rem; }
.beside > * { max-width: 100%; margin: .5rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .5rem; text-align: right; border-bottom: 1px solid var(--rule); overflow-wrap: normal; }
thead th { border-bottom: 2px solid var(--soft); vertical-align: bottom; } tbody th { font-weight: normal; }
tbody td { white-space: nowrap; }
tr > :first-child { text-align: left; position: sticky; left: 0; background: var(--paper); max-width: 22rem;
  min-width: 8rem; padding-left: 0; overflow-wrap: anywhere; }
.low, .high, .better, .worse { padding: 0 .3rem; border-radius: .2rem; }
.high, .better { background: var(--high); } .low, .worse { background: var(--low); }
.better::before { content: "\\25b2\\a0"; content: "\\25b2\\a0" / ""; }
.worse::before { content: "\\25bc\\a0"; content: "\\25bc\\a0" / ""; }
details { margin: .25rem 0; } summary { cursor: pointer; padding: .35rem 0; }
details > :not(summary) { margin-left: .2rem; }
figure { margin: .5rem 0; max-width: 100%; } figcaption { text-align: center; }
svg { display: block; max-width: 100%; height: auto; font-size: 12px; fill: currentColor; }
.mid { text-anchor: middle; } .end { text-anchor: end; }
.axis, .by-chance, .line { fill: none; stroke: currentColor; } .by-chance { stroke-dasharray: 2 3; stroke-width: 1.5; }
.line { stroke: var(--line); stroke-width: 2; } .bar { fill: var(--fill); fill-opacity: .4; stroke: var(--fill); }
.dot { fill: var(--line); fill-opacity: .4; stroke: var(--line); }
@media (min-width: 40rem) { tr > :first-child { white-space: nowrap; max-width: none; } }
@media (max-width: 40rem) { table { font-size: .9rem; } th, td { padding: .25rem .45rem; }
  tr > :first-child { max-width: 38vw; } nav ul { columns: 9rem; } }
"""
"""Colours are pairs of light and dark; what a colour says is also said in words, by form or by a number."""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page that the list of contents leads to."""

    anchor: str
    """Its id."""
    title: str
    """Its heading, as plain text."""
    body: str
    """What stands below the heading, as HTML."""


def make_report(results: Mapping[str, Any]) -> str:
    """Return the page for what ``python -m training evaluate`` measured.

    Parameters
    ----------
    results : ``model_id``, ``evaluation`` and, where there are any, ``thresholds``, ``base_rates``, ``perspective``,
        ``bias``, ``subgroups``, ``evasion``, ``rivals``, ``comparison`` (this model minus the other) and
        ``compared_with`` (the other's id), as written to ``metrics.json``
    """
    evaluation = results["evaluation"]
    sections = _figures_of_all(results)
    sections += [_set_section(name, labels, alone=len(evaluation) == 1) for name, labels in evaluation.items()]
    links = "".join(f'<li><a href="#{part.anchor}">{escape(part.title)}</a></li>' for part in sections)
    body = "".join(f'<h2 id="{part.anchor}">{escape(part.title)}</h2>{part.body}' for part in sections)
    name = escape(results["model_id"])
    head = (
        f'<meta charset=utf-8><meta name=viewport content="width=device-width, initial-scale=1"><title>{name}</title>'
    )
    return (
        f"<!doctype html><html lang=en><head>{head}<style>{STYLE}</style></head>"
        f"<body><h1>{name}</h1><nav aria-label=Contents><p>Contents</p><ul>{links}</ul></nav>"
        f"<main>{body}</main></body></html>\n"
    )


def _figures_of_all(results: Mapping[str, Any]) -> list[Section]:
    """Return the sections that look at all sets together."""
    evaluation, comparison, rivals = results["evaluation"], results.get("comparison"), results.get("rivals")
    out = [Section("all", "All sets and labels", _summary(evaluation))]
    if results.get("thresholds"):
        body = _thresholds(results["thresholds"], results.get("base_rates", {}))
        out.append(Section("thresholds", "Thresholds", body))
    if rivals:
        out.append(Section("rivals", "Rivals on the same rows", _rivals(evaluation, rivals)))
    if comparison:
        other = results.get("compared_with") or "the other model"
        out.append(Section("comparison", f"Against {other}", _comparison(comparison, other)))
    for name, title in (
        ("perspective", "Against Perspective's scores"),
        ("bias", "Identities"),
        ("evasion", "Evasion"),
    ):
        if results.get(name):
            out.append(Section(name, title, _plain_table(results[name], title)))
    for name, rows in results.get("subgroups", {}).items():
        title = f"Abuse in comments that mention an identity: {name}"
        out.append(Section(_anchor("subgroups", name), title, _plain_table(rows, title)))
    return out


def _anchor(*parts: str) -> str:
    """Return an id without spaces or quotes; parts that differ give ids that differ."""
    return "/".join(quote(part, safe="") for part in parts)


def _table(name: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return an HTML table that scrolls by itself where it is wider than the page; cells are already safe."""
    head = "".join(f"<th scope=col>{escape(cell)}</th>" for cell in header)
    body = "".join(
        f"<tr><th scope=row>{first}</th>" + "".join(f"<td>{cell}</td>" for cell in rest) + "</tr>"
        for first, *rest in rows
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class=scroll role=region tabindex=0 aria-label="{escape(name)}">{table}</div>'


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else escape("" if value is None else str(value))


def _interval(values: Mapping[str, Any]) -> str:
    low, high = values["auc_interval"]
    return f"{values['auc']:.3f} <small>({low:.3f} to {high:.3f})</small>"


def _note(text: str) -> str:
    return f"<p class=note>{escape(text)}</p>"


def _link(text: str, *anchor: str) -> str:
    return f'<a href="#{_anchor(*anchor)}">{escape(text)}</a>'


def _summary(evaluation: Mapping[str, Any]) -> str:
    header = ["set", "label", "rows", "positives", "AUC (95 %)", "avg. precision", "F1", "recall", "true negatives",
              "calibration error"]  # fmt: skip
    rows = []
    for name, labels in evaluation.items():
        for label, values in labels.items():
            at = values["at_threshold"]
            numbers = [values["average_precision"], at["f1"], at["recall"], at["true_negative_rate"]]
            numbers.append(values["calibration_error_own_rate"])
            counts = [_number(values["rows"]), _number(values["positives"])]
            links = [_link(name, "set", name), _link(label, "set", name, label)]
            rows.append([*links, *counts, _interval(values), *map(_number, numbers)])
    note = "F1, recall and true negatives at the model's thresholds; calibration at each set's own base rate."
    return _note(note) + _table("All sets and labels", header, rows)


def _thresholds(thresholds: Mapping[str, float], base_rates: Mapping[str, float]) -> str:
    rows = [[escape(label), _number(value), _number(base_rates.get(label))] for label, value in thresholds.items()]
    return _table("Thresholds", ["label", "measured at threshold", "calibrated at base rate"], rows)


def _rivals(ours: Mapping[str, Any], rivals: Mapping[str, Any]) -> str:
    names = list(rivals)
    rows = []
    for name, labels in ours.items():
        theirs = [rivals[rival]["evaluation"].get(name, {}).get("abuse") for rival in names]
        if "abuse" in labels and any(theirs):
            rows.append(
                [escape(name), _interval(labels["abuse"]), *(_interval(their) if their else "" for their in theirs)]
            )
    return _table("Rivals", ["set (abuse AUC)", "ours", *names], rows)


def _comparison(comparison: Mapping[str, Any], other: str) -> str:
    """Return the differences in AUC, this model minus the other, and on how many sets it is better or worse."""
    rows, found = [], {"better": 0, "worse": 0, "no clear difference": 0}
    for name, labels in comparison.items():
        for label, values in labels.items():
            verdict = "better" if values["low"] > 0 else "worse" if values["high"] < 0 else "no clear difference"
            found[verdict] += 1
            span = f"{values['difference']:+.4f} <small>({values['low']:+.4f} to {values['high']:+.4f})</small>"
            cells = [escape(name), escape(label), _number(values["first"]), _number(values["second"]), span]
            rows.append([*cells, verdict if " " in verdict else f"<span class={verdict}>{verdict}</span>"])
    counts = ", ".join(f"{kind}: {count}" for kind, count in found.items())
    note = (
        f"The difference in AUC is this model minus {other}: above zero this model is better, below zero it is worse. "
        f"One of the two is said where the 95 % interval leaves zero out; {counts}."
    )
    header = ["set", "label", "this model", other, "difference (95 %)", "this model is"]
    return _note(note) + _table(f"Against {other}", header, rows)


def _plain_table(rows: Mapping[str, Mapping[str, Any]], title: str) -> str:
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    body = [[escape(name), *(_number(row.get(column)) for column in columns)] for name, row in rows.items()]
    return _table(title, ["", *columns], body)


def _set_section(name: str, labels: Mapping[str, Any], *, alone: bool) -> Section:
    """Return one set, its labels folded behind their main figures unless the page has no other set."""
    folded = [
        f"<details{' open' if alone else ''}><summary>{_main_figures(label, values)}</summary>"
        # The id is inside, because a browser that is led to it unfolds what is around it.
        f'<div id="{_anchor("set", name, label)}">{_label_body(name, label, values)}</div></details>'
        for label, values in labels.items()
    ]
    return Section(_anchor("set", name), name, "".join(folded))


def _main_figures(label: str, values: Mapping[str, Any]) -> str:
    at, (right, pairs) = values["at_threshold"], values["pairs"]
    figures = [f"AUC {_interval(values)}"]
    figures += [f"{name} {at[key]:.3f}" for name, key in (("F1", "f1"), ("recall", "recall"))]
    figures += [
        f"true negatives {at['true_negative_rate']:.3f}",
        f"{values['positives']:,} positives in {values['rows']:,} rows",
    ]
    figures += [f"{right:,} of {pairs:,} pairs in order"] if pairs else []
    return f"<strong>{escape(label)}</strong>: {', '.join(figures)}"


def _label_body(name: str, label: str, values: Mapping[str, Any]) -> str:
    """Return plots, cases and worst errors of one label on one set."""
    plots = [
        ("precision and recall", plot_curve(values)),
        ("said against true", plot_reliability(values)),
        ("scores", plot_histogram(values)),
    ]
    figures = "".join(f"<figure>{svg}<figcaption>{caption}</figcaption></figure>" for caption, svg in plots)
    place, parts = f"{label} on {name}", [f"<div class=beside>{figures}</div>"]
    if values["cases"]:
        ranked = sorted(values["cases"].items(), key=lambda item: item[1]["right"])
        rows = [[escape(case), _number(found["rows"]), _shade(found["right"])] for case, found in ranked]
        table = _table(f"{place}: by case", ["case", "rows", "share right"], rows)
        parts.append(f"<details><summary>by case, the worst first</summary>{table}</details>")
    worst = "".join(_worst(place, kind, values["worst"][kind]) for kind in ("missed", "raised"))
    parts.append(f"<details><summary>worst errors</summary><div class=beside>{worst}</div></details>")
    return "".join(parts)


def _worst(place: str, kind: str, found: Sequence[tuple[str, float]]) -> str:
    rows = [[escape(str(name)), _number(score)] for name, score in found]
    return _table(f"{place}: {kind}", [f"{kind} (id)", "score"], rows)


def _shade(share: float) -> str:
    kind = "low" if share < 0.5 else "high" if share >= 0.9 else ""
    return f"<span class={kind}>{share:.2f}</span>" if kind else f"{share:.2f}"
