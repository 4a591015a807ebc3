"""Counts, times and score histograms for Prometheus; never a text.

Every worker counts in a table of its own, a small file that it maps, and whichever worker is asked adds the tables up.
A worker that is killed leaves its table behind, so totals never fall.
"""

from __future__ import annotations

import os
import time
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from moderation.comment import ACTIONS, Action

ROUTES = (
    "analyze", "suggestscore", "batch", "discovery", "moderations", "coral", "score", "model",
    "queue", "appeals", "page", "other",
)  # fmt: skip
STATUSES = (200, 204, 400, 401, 403, 404, 405, 408, 413, 415, 422, 429, 431, 499, 500, 503)
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
BINS = 20
"""Steps of a score histogram."""

_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics(Collector):
    """Counts one worker's requests and scores, and tells those of all workers.

    Parameters
    ----------
    labels : labels of the model
    about : names and values that say what is served (model, policy)
    shared : folder of the workers' tables; None: there is one worker
    """

    content_type = _CONTENT_TYPE

    def __init__(self, labels: Sequence[str], about: dict[str, str], shared: Path | None = None) -> None:
        self.labels = labels
        self.about = about
        self.shared = shared
        sizes = {
            "requests": len(ROUTES) * (len(STATUSES) + 1),
            "seconds": len(ROUTES) * (len(SECONDS) + 2),
            "scores": len(labels) * (BINS + 1),
            "verdicts": len(ACTIONS),
            "comments": len(ROUTES),
            "events": len(EVENTS),
        }
        ends = np.cumsum(list(sizes.values())).tolist()
        self._parts = dict(zip(sizes, pairwise([0, *ends]), strict=True))
        self._table = self._open(ends[-1])
        self._of = {name: self._table[first:last] for name, (first, last) in self._parts.items()}
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def _open(self, size: int) -> NDArray[np.float64]:
        if self.shared is None:
            return np.zeros(size)
        # Process ids come again, so the time stands in the name too.
        return np.memmap(self.shared / f"counts-{os.getpid()}-{time.time_ns()}", np.float64, "w+", shape=(size,))

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        row = _ROW.get(route, _ROW["other"])
        self._of["requests"][row * (len(STATUSES) + 1) + _COLUMN.get(status, len(STATUSES))] += 1
        times, first = self._of["seconds"], row * (len(SECONDS) + 2)
        times[first + bisect_left(SECONDS, seconds)] += 1
        times[first + len(SECONDS) + 1] += seconds

    def scores(self, route: str, rows: NDArray[np.float64]) -> None:
        """Count the probabilities of comments, shape (n_comments, n_labels)."""
        self._of["comments"][_ROW[route]] += len(rows)
        table = self._of["scores"]
        for row in rows.tolist():
            first = 0
            for probability in row:
                table[first + min(int(probability * BINS), BINS - 1)] += 1
                table[first + BINS] += probability
                first += BINS + 1

    def verdict(self, action: Action) -> None:
        """Count one verdict."""
        self._of["verdicts"][ACTIONS.index(action)] += 1

    def event(self, name: str) -> None:
        """Count something out of the ordinary, one of `EVENTS`."""
        self._of["events"][EVENTS.index(name)] += 1

    def exposition(self) -> bytes:
        """Return all workers' counts in Prometheus's text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        """Return the metrics of all workers together."""
        total = self._total()
        part = {name: total[first:last] for name, (first, last) in self._parts.items()}
        yield from _requests(part["requests"].reshape(len(ROUTES), -1), part["seconds"].reshape(len(ROUTES), -1))
        histogram = HistogramMetricFamily(
            "moderation_scores", "Probability per label of every comment.", labels=["label"]
        )
        for label, row in zip(self.labels, part["scores"].reshape(len(self.labels), -1), strict=True):
            edges = [f"{(k + 1) / BINS:g}" for k in range(BINS - 1)] + ["+Inf"]
            histogram.add_metric([label], list(zip(edges, np.cumsum(row[:BINS]).tolist(), strict=True)), row[BINS])
        yield histogram
        yield _counter("moderation_comments", "Comments scored.", "route", ROUTES, part["comments"])
        yield _counter("moderation_verdicts", "Verdicts of the policy.", "action", ACTIONS, part["verdicts"])
        yield _counter("moderation_events", "What was out of the ordinary.", "event", EVENTS, part["events"])
        info = GaugeMetricFamily("moderation_model_info", "What is served; always 1.", labels=list(self.about))
        info.add_metric(list(self.about.values()), 1)
        yield info

    def _total(self) -> NDArray[np.float64]:
        if self.shared is None:
            return self._table
        tables = [np.fromfile(path, np.float64) for path in sorted(self.shared.glob("counts-*"))]
        return np.asarray(np.sum([table for table in tables if table.shape == self._table.shape], axis=0))


EVENTS = ("feedback_kept", "feedback_dropped", "hook_failed")
_ROW = {name: row for row, name in enumerate(ROUTES)}
_COLUMN = {status: column for column, status in enumerate(STATUSES)}


def _counter(
    name: str, text: str, label: str, values: Sequence[str], counts: NDArray[np.float64]
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=[label])
    for value, count in zip(values, counts.tolist(), strict=True):
        family.add_metric([value], count)
    return family


def _requests(requests: NDArray[np.float64], seconds: NDArray[np.float64]) -> Iterable[Metric]:
    counter = CounterMetricFamily("moderation_requests", "Requests answered.", labels=["route", "status"])
    histogram = HistogramMetricFamily("moderation_request_seconds", "Time to the answer.", labels=["route"])
    edges = [*(f"{edge:g}" for edge in SECONDS), "+Inf"]
    for route, counts, times in zip(ROUTES, requests.tolist(), seconds, strict=True):
        for status, count in zip((*STATUSES, "else"), counts, strict=True):
            if count:
                counter.add_metric([route, str(status)], count)
        buckets = list(zip(edges, np.cumsum(times[:-1]).tolist(), strict=True))
        histogram.add_metric([route], buckets, float(times[-1]))
    yield counter
    yield histogram
