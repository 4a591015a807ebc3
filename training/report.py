"""One self-contained HTML page from the measures: tables and plots that one would rather look at than read."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; } th, td { padding: .25rem .7rem; text-align: right; }
th { border-bottom: 2px solid #444; } td small { white-space: nowrap; } td { border-bottom: 1px solid #ddd; }
td:first-child, th:first-child { text-align: left; }
figure { display: inline-block; margin: 0 1rem 1rem 0; } figcaption { text-align: center; }
svg { max-width: 100%; height: auto; } .low { background: #fde0dd; } .high { background: #e0f3db; }
details { margin: .5rem 0; } summary { cursor: pointer; }
@media (prefers-color-scheme: dark) { body { background: #181818; color: #ddd; } figure { background: #fff; }
  .low { background: #5a2a27; } .high { background: #26482a; } td { border-color: #444; } }
"""


def make_report(results: Mapping[str, Any]) -> str:
    """Return the page for what ``python -m training evaluate`` measured.

    Parameters
    ----------
    results : ``model_id``, ``evaluation`` and, where there are any, ``thresholds``, ``base_rates``, ``perspective``,
        ``bias``, ``subgroups``, ``evasion``, ``rivals`` and ``comparison``, as written to ``metrics.json``
    """
    parts = [f"<h1>{escape(results['model_id'])}</h1>", _summary(results["evaluation"])]
    if results.get("thresholds"):
        parts.append(_thresholds(results["thresholds"], results.get("base_rates", {})))
    if results.get("rivals"):
        parts += ["<h2>Rivals on the same rows</h2>", _rivals(results["evaluation"], results["rivals"])]
    if results.get("comparison"):
        parts += ["<h2>Against the other model</h2>", _comparison(results["comparison"])]
    for name, title in (
        ("perspective", "Against Perspective's scores"),
        ("bias", "Identities"),
        ("evasion", "Evasion"),
    ):
        if results.get(name):
            parts += [f"<h2>{title}</h2>", _plain_table(results[name])]
    for name, rows in results.get("subgroups", {}).items():
        parts += [f"<h2>Abuse in comments that mention an identity: {escape(name)}</h2>", _plain_table(rows)]
    for name, labels in results["evaluation"].items():
        parts += [_set_section(name, label, values) for label, values in labels.items()]
    head = f"<meta charset=utf-8><title>{escape(results['model_id'])}</title><style>{STYLE}</style>"
    return f"<!doctype html><html lang=en><head>{head}</head><body>{''.join(parts)}</body></html>\n"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return an HTML table; cells are already safe."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else escape("" if value is None else str(value))


def _interval(values: Mapping[str, Any]) -> str:
    low, high = values["auc_interval"]
    return f"{values['auc']:.3f} <small>({low:.3f} to {high:.3f})</small>"


def _summary(evaluation: Mapping[str, Any]) -> str:
    header = ["set", "label", "rows", "positives", "AUC (95 %)", "avg. precision", "F1", "recall", "true negatives",
              "calibration error"]  # fmt: skip
    rows = []
    for name, labels in evaluation.items():
        for label, values in labels.items():
            at = values["at_threshold"]
            link = f'<a href="#{escape(name)}-{escape(label)}">{escape(name)}</a>'
            numbers = [values["average_precision"], at["f1"], at["recall"], at["true_negative_rate"]]
            numbers.append(values["calibration_error_own_rate"])
            counts = [_number(values["rows"]), _number(values["positives"])]
            rows.append([link, escape(label), *counts, _interval(values), *map(_number, numbers)])
    note = "<p>F1, recall and true negatives at the model's thresholds; calibration at each set's own base rate.</p>"
    return _table(header, rows) + note


def _thresholds(thresholds: Mapping[str, float], base_rates: Mapping[str, float]) -> str:
    rows = [[escape(label), _number(value), _number(base_rates.get(label))] for label, value in thresholds.items()]
    return _table(["label", "measured at threshold", "calibrated at base rate"], rows)


def _rivals(ours: Mapping[str, Any], rivals: Mapping[str, Any]) -> str:
    names = list(rivals)
    rows = []
    for name, labels in ours.items():
        theirs = [rivals[rival]["evaluation"].get(name, {}).get("abuse") for rival in names]
        if "abuse" in labels and any(theirs):
            rows.append(
                [escape(name), _interval(labels["abuse"]), *(_interval(their) if their else "" for their in theirs)]
            )
    return _table(["set (abuse AUC)", "ours", *names], rows)


def _comparison(comparison: Mapping[str, Any]) -> str:
    rows = []
    for name, labels in comparison.items():
        for label, values in labels.items():
            sure = values["low"] > 0 or values["high"] < 0
            kind = ("high" if values["difference"] > 0 else "low") if sure else ""
            span = f"{values['difference']:+.4f} <small>({values['low']:+.4f} to {values['high']:+.4f})</small>"
            cells = [escape(name), escape(label), _number(values["first"]), _number(values["second"])]
            rows.append([*cells, f'<span class="{kind}">{span}</span>'])
    return _table(["set", "label", "this model", "the other", "difference (95 %)"], rows)


def _plain_table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    body = [[escape(name), *(_number(row.get(column)) for column in columns)] for name, row in rows.items()]
    return _table(["", *columns], body)


def _set_section(name: str, label: str, values: Mapping[str, Any]) -> str:
    """Return plots, cases and worst errors of one label on one set."""
    plots = [
        ("precision and recall", _plot_curve(values)),
        ("said against true", _plot_reliability(values)),
        ("scores", _plot_histogram(values)),
    ]
    figures = "".join(f"<figure>{svg}<figcaption>{caption}</figcaption></figure>" for caption, svg in plots)
    parts = [f'<h2 id="{escape(name)}-{escape(label)}">{escape(name)}: {escape(label)}</h2>{figures}']
    if values["cases"]:
        ranked = sorted(values["cases"].items(), key=lambda item: item[1]["right"])
        rows = [[escape(case), _number(found["rows"]), _shade(found["right"])] for case, found in ranked]
        parts.append(f"<details><summary>by case</summary>{_table(['case', 'rows', 'right'], rows)}</details>")
    worst = values["worst"]
    rows = [
        [escape(str(missed[0])), _number(missed[1]), escape(str(raised[0])), _number(raised[1])]
        for missed, raised in zip(worst["missed"], worst["raised"], strict=False)
    ]
    header = ["missed (id)", "score", "raised (id)", "score"]
    parts.append(f"<details><summary>worst errors</summary>{_table(header, rows)}</details>")
    return "".join(parts)


def _shade(share: float) -> str:
    kind = "low" if share < 0.5 else "high" if share >= 0.9 else ""
    return f'<span class="{kind}">{share:.2f}</span>'


def _figure() -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.4, 2.6), layout="constrained")
    return figure, figure.subplots()


def _svg(figure: Any) -> str:
    """Return a figure as an SVG element; without date and with fixed ids, so that equal data give equal bytes."""
    import matplotlib

    out = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "moderation"}):
        figure.savefig(out, format="svg", metadata={"Date": None})
    text = out.getvalue()
    return text[text.index("<svg") :]


def _plot_curve(values: Mapping[str, Any]) -> str:
    figure, axes = _figure()
    recall, precision = zip(*values["curve"], strict=True)
    axes.plot(recall, precision)
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    axes.axhline(values["positives"] / values["rows"], linestyle=":", color="grey")
    return _svg(figure)


def _plot_reliability(values: Mapping[str, Any]) -> str:
    figure, axes = _figure()
    axes.plot([0, 1], [0, 1], linestyle=":", color="grey")
    axes.scatter(
        [said for _, _, said, _ in values["reliability"]],
        [true for _, _, _, true in values["reliability"]],
        s=[10 + 200 * share for _, share, _, _ in values["reliability"]],
    )
    axes.set(xlabel="probability said", ylabel="share true", xlim=(0, 1), ylim=(0, 1))
    return _svg(figure)


def _plot_histogram(values: Mapping[str, Any]) -> str:
    figure, axes = _figure()
    for kind, colour in (("0", "tab:green"), ("1", "tab:red")):
        counts = values["histogram"][kind]
        width = 1 / len(counts)
        heights = [count / max(sum(counts), 1) for count in counts]
        axes.bar([(k + 0.5) * width for k in range(len(counts))], heights, width, alpha=0.5, color=colour)
    axes.set(xlabel="score", ylabel="share", yscale="log")
    return _svg(figure)
