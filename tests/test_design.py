"""What training adds to the rows and columns of a fit: copies of our own comments, and evidence shared between words."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose

from moderation.features import FeatureSettings
from moderation.text import normalise
from training.augment import FRIENDLY, MARK, NEUTRAL_FRAMES, AugmentSettings, augment
from training.bias import IDENTITIES, NEUTRAL, fill
from training.corpora import LABELS, Row
from training.curve import learning_curve
from training.design import DesignSettings, make_design
from training.evasion import _FRIENDLY
from training.fit import FitSettings
from training.sharing import SharingSettings, sharing_matrix, word_vectors
from training.splits import Table
from training.train import TrainSettings

PLACES = "bridge bakery ferry school tower garden market tram library pool".split()
VERBS = "torch burn firebomb".split()


def own(number: int, text: str, labels: tuple[str, ...] = (), corpus: str = "authored", part: str = "train") -> Any:
    known: dict[str, float | None] = {label: int(label in labels) for label in LABELS}
    source = {"voice": "calm", "pair": None}
    return Row(corpus, f"{corpus}-{number}", text, None, known, None, None, f"case {number % 7}", source), part


def table_of(items: list[Any]) -> Table:
    rows = [row for row, _ in items]
    labels = np.array([[int(row.labels[label]) for label in LABELS] for row in rows], np.int8)
    return Table(rows, [normalise(row.text) for row in rows], labels, np.array([part for _, part in items]))


def town(count: int, corpus: str = "authored", part: str = "train", seed: int = 0) -> list[Any]:
    dice = random.Random(f"{seed} {corpus} {part}")
    out = []
    for number in range(count):
        place, when = dice.choice(PLACES), f"at {dice.randrange(1, 13)} o'clock on day {dice.randrange(300)}"
        if number % 2:
            out.append(
                own(number, f"somebody should {dice.choice(VERBS)} the {place} {when}", ("incitement",), corpus, part)
            )
        else:
            verb = dice.choice(["paint", "visit", "repair"])
            out.append(own(number, f"somebody should {verb} the {place} {when}", (), corpus, part))
    return out


@pytest.fixture(scope="module")
def train() -> Table:
    return table_of([*town(200), *town(60, corpus="public")])


def test_copies_are_of_our_own_comments_and_keep_their_labels(train: Table) -> None:
    copies = augment(train, AugmentSettings(disguised=1.0, padded=1.0, frames=0))
    assert len(copies.rows) == 400
    labels = {row.id: tuple(values) for row, values in zip(train.rows, train.labels.tolist(), strict=True)}
    for row, values in zip(copies.rows, copies.labels.tolist(), strict=True):
        original, _, kind = row.id.partition(MARK)
        assert row.corpus == "authored"
        assert kind in ("disguised", "padded")
        assert tuple(values) == labels[original]
    assert augment(train, AugmentSettings()).texts == augment(train, AugmentSettings()).texts


def test_who_is_spoken_of_is_swapped_with_its_article() -> None:
    copies = augment(
        table_of([own(0, "A Buddhist woman and an atheist man; the Buddhist sang.")]),
        AugmentSettings(0.0, 0.0, swaps=20, frames=0),
    )
    assert len(copies.rows) == 20
    for row in copies.rows:
        words = row.text.replace(";", "").replace(".", "").split()
        assert words[1] == words[8]
        assert words[0].lower() == ("an" if words[1][0].lower() in "aeiou" else "a")
        assert words[2:4] == ["woman", "and"]
    assert len({row.text for row in copies.rows}) > 5


def test_every_identity_is_put_into_neutral_sentences() -> None:
    frames = augment(table_of([own(0, "Rain.")]), AugmentSettings(0.0, 0.0, swaps=0, frames=len(NEUTRAL_FRAMES)))
    assert len(frames.rows) == len(NEUTRAL_FRAMES) * sum(map(len, IDENTITIES.values()))
    assert not frames.labels.any()
    assert "An Indigenous friend told me about the new tram line." in {row.text for row in frames.rows}


def test_what_is_measured_with_is_not_what_is_taught_with() -> None:
    taught = {normalise(sentence) for sentence in FRIENDLY}
    assert not any(sentence in normalise(_FRIENDLY) for sentence in taught)
    assert not set(NEUTRAL) & set(NEUTRAL_FRAMES)
    assert not taught & {normalise(sentence) for sentence in fill(NEUTRAL, "Muslim")}


def test_words_of_like_use_have_like_vectors(train: Table) -> None:
    words, vectors = word_vectors(train.texts, 20)
    place = {word: number for number, word in enumerate(words)}
    near = vectors[place["torch"]] @ vectors[place["firebomb"]]
    assert near > vectors[place["torch"]] @ vectors[place["bridge"]] + 0.2


def test_shared_columns_fold_into_the_words(train: Table) -> None:
    settings = DesignSettings(
        FeatureSettings((1, 2), (2, 3)), {"words": 2, "chars": 2}, AugmentSettings(), SharingSettings(10, 1.0, 5, 3)
    )
    design = make_design(train, [], settings)
    assert design.matrix.shape[0] == len(design.table.rows) == len(design.copies)
    assert 0 < design.copies.sum() < len(design.copies)
    weights = np.random.default_rng(0).normal(size=(design.matrix.shape[1], 2))
    features = design.matrix.shape[1] - design.sharing.shape[1]
    plain = np.concatenate((design.fold(weights), np.zeros((len(weights) - features, 2))))
    assert_allclose(design.matrix @ plain, design.matrix @ weights, atol=1e-4)


def test_without_vectors_and_classes_nothing_is_shared(train: Table) -> None:
    matrix = sharing_matrix(["torch", "burn"], train.texts, SharingSettings(dimensions=0, classes=0))
    assert sp.issparse(matrix) and matrix.shape == (2, 0)


def test_the_curve_grows_with_our_own_comments() -> None:
    table = table_of([*town(200), *town(60, "public"), *town(20, part="tune"), *town(60, part="test", seed=1)])
    settings = TrainSettings(min_rows_words=2, min_rows_chars=2, sharing=SharingSettings(10, 1.0, 5, 3))
    found = learning_curve(table, settings, FitSettings(), "incitement", [40, 10_000])
    assert [point["comments"] for point in found][1] == 200
    assert 30 <= found[0]["comments"] <= 50
    assert found[1]["auc"] > 0.95


def test_the_curve_grows_with_public_comments() -> None:
    table = table_of([*town(200), *town(300, "public"), *town(20, part="tune"), *town(60, "fox_news", "test", seed=1)])
    settings = TrainSettings(min_rows_words=2, min_rows_chars=2, sharing=SharingSettings(10, 1.0, 5, 3))
    found = learning_curve(table, settings, FitSettings(), "incitement", [100, 10_000], grow="public")
    assert [point["comments"] for point in found] == [100, 300]
    assert set(found[0]["sets"]) == {"fox_news"}
    assert found[1]["sets"]["fox_news"] > 0.95
    assert found[0]["pairs"] == (0, 0)
