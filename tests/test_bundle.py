"""Bundles: a round trip, and a distinct clear error for every way in which one can be unfit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from moderation import Scorer, errors
from moderation.bundle import (
    FORMAT_VERSION,
    MAX_FEATURES,
    MAX_MANIFEST_BYTES,
    MEMBERS,
    SHIPPED,
    Bundle,
    load_bundle,
    save_bundle,
)
from tests.conftest import TEXTS


def edit(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the manifest of a bundle on disk."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def replace_member(folder: Path, name: str, data: bytes) -> None:
    """Put other bytes in a member and make the manifest agree, as one who forges a bundle would."""
    import hashlib

    (folder / name).write_bytes(data)
    found = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    edit(folder, lambda manifest: manifest["members"].update({name: found}))


def test_a_round_trip_keeps_the_scores(small_bundle: Bundle, bundle_folder: Path) -> None:
    loaded = load_bundle(bundle_folder)
    assert loaded.labels == small_bundle.labels
    assert loaded.settings == small_bundle.settings
    assert_array_equal(Scorer(loaded).predict_proba(TEXTS), Scorer(small_bundle).predict_proba(TEXTS))


def test_the_same_model_gives_the_same_bytes(small_bundle: Bundle, tmp_path: Path) -> None:
    first, second = (save_bundle(small_bundle, tmp_path / name) for name in ("a", "b"))
    assert first["model_id"] == second["model_id"]
    for name in ("manifest.json", *MEMBERS):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_another_model_gets_another_id(small_bundle: Bundle, tmp_path: Path) -> None:
    from dataclasses import replace

    other = replace(small_bundle, intercept=small_bundle.intercept + 0.5)
    assert save_bundle(other, tmp_path / "a")["model_id"] != save_bundle(small_bundle, tmp_path / "b")["model_id"]


def test_saving_replaces_what_was_there(small_bundle: Bundle, bundle_folder: Path) -> None:
    (bundle_folder / "stray").write_text("left over")
    save_bundle(small_bundle, bundle_folder)
    assert {path.name for path in bundle_folder.iterdir()} == {"manifest.json", *MEMBERS}
    assert [path.name for path in bundle_folder.parent.iterdir()] == ["bundle"]


def test_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(errors.BundleNotFound, match="there is no model here"):
        load_bundle(tmp_path / "nowhere")


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(errors.BundleForeign, match=r"has no manifest\.json"):
        load_bundle(tmp_path)


@pytest.mark.parametrize("content", ['{"format": "other"}', "[]", '"text"', "{}"])
def test_a_manifest_of_something_else(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(errors.BundleForeign, match="its format is not 'moderation-bundle'"):
        load_bundle(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "\x00", '{"a": ' * 50_000])
def test_a_manifest_that_is_no_json(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(errors.BundleDamaged, match="not readable as JSON"):
        load_bundle(tmp_path)


def test_a_later_format(bundle_folder: Path) -> None:
    edit(bundle_folder, lambda manifest: manifest.update(version=FORMAT_VERSION + 1))
    with pytest.raises(errors.BundleTooNew, match=f"this release reads up to {FORMAT_VERSION}"):
        load_bundle(bundle_folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": "1"}, "version: expected an integer from 1"),
        ({"labels": []}, "labels: expected a list of names"),
        ({"labels": ["a", "a", "b"]}, "a name stands twice"),
        ({"labels": ["a", "b"]}, "scale: expected 2 finite numbers"),
        ({"n_features": -1}, "n_features: expected an integer from 0"),
        ({"n_features": 3}, "expected 3 n-grams"),
        ({"scale": [1, 2]}, "scale: expected 3 finite numbers"),
        ({"intercept": [1, 2, float("nan")]}, "intercept: expected 3 finite numbers"),
        ({"intercept": ["1", 2, 3]}, "intercept: expected 3 finite numbers"),
        ({"features": {"word_ngrams": [1, 2], "char_ngrams": [5, 2]}}, "char_ngrams: expected 1 <= fewest <= most"),
        ({"features": {"word_ngrams": [1, 10**9], "char_ngrams": [2, 5]}}, "word_ngrams: expected 1 <= fewest <= most"),
        ({"features": {"word_ngrams": "x", "char_ngrams": [2, 5]}}, "word_ngrams: expected two integers"),
        ({"features": []}, "features: expected word_ngrams and char_ngrams"),
        ({"members": []}, "members"),
        ({"members": {}}, r"members\.words\.txt: expected bytes and sha256"),
        ({"model_id": 4}, "model_id"),
    ],
)
def test_a_manifest_at_odds_with_itself(bundle_folder: Path, change: dict[str, Any], message: str) -> None:
    edit(bundle_folder, lambda manifest: manifest.update(change))
    with pytest.raises(errors.BundleDamaged, match=message):
        load_bundle(bundle_folder)


@pytest.mark.parametrize("name", MEMBERS)
def test_a_missing_member(bundle_folder: Path, name: str) -> None:
    (bundle_folder / name).unlink()
    with pytest.raises(errors.BundleDamaged, match=f"{name}: missing"):
        load_bundle(bundle_folder)


@pytest.mark.parametrize("name", MEMBERS)
def test_a_truncated_member(bundle_folder: Path, name: str) -> None:
    data = (bundle_folder / name).read_bytes()
    (bundle_folder / name).write_bytes(data[:-1])
    with pytest.raises(errors.BundleDamaged, match=f"{name}: expected {len(data)} bytes, got {len(data) - 1}"):
        load_bundle(bundle_folder)


@pytest.mark.parametrize("name", MEMBERS)
def test_an_altered_member(bundle_folder: Path, name: str) -> None:
    data = bytearray((bundle_folder / name).read_bytes())
    data[-1] ^= 1
    (bundle_folder / name).write_bytes(data)
    with pytest.raises(errors.BundleDamaged, match=f"{name}: its SHA-256 is not the one in the manifest"):
        load_bundle(bundle_folder)


def test_too_large(bundle_folder: Path) -> None:
    edit(bundle_folder, lambda manifest: manifest.update(n_features=MAX_FEATURES + 1))
    with pytest.raises(errors.BundleTooLarge, match="at most 64 and"):
        load_bundle(bundle_folder)


def test_a_member_that_claims_to_be_too_large(bundle_folder: Path) -> None:
    edit(bundle_folder, lambda manifest: manifest["members"]["idf.npy"].update(bytes=1 << 40))
    with pytest.raises(errors.BundleTooLarge, match=r"idf\.npy"):
        load_bundle(bundle_folder)


def test_a_manifest_that_is_too_large(bundle_folder: Path) -> None:
    edit(bundle_folder, lambda manifest: manifest.update(padding="x" * MAX_MANIFEST_BYTES))
    with pytest.raises(errors.BundleTooLarge, match=r"manifest\.json"):
        load_bundle(bundle_folder)


def test_a_forged_pickle_is_not_run(bundle_folder: Path, tmp_path: Path) -> None:
    # An .npy file of objects holds a pickle; loading it would run what it says.
    ran = tmp_path / "ran"

    class Harmful:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (ran,))

    np.save(tmp_path / "forged.npy", np.array([Harmful()], dtype=object), allow_pickle=True)
    replace_member(bundle_folder, "idf.npy", (tmp_path / "forged.npy").read_bytes())
    with pytest.raises(errors.BundleDamaged, match=r"idf\.npy: not readable as an array"):
        load_bundle(bundle_folder)
    assert not ran.exists()


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("words.txt", b"\xff\n", "not UTF-8 at byte 0"),
        ("words.txt", b"no end", "the last line is cut short"),
        ("chars.txt", b"a\na\n", "an n-gram stands twice"),
        ("weights.npy", b"", "not readable as an array"),
        ("weights.npy", b"\x93NUMPY\x01\x00", "not readable as an array"),
    ],
)
def test_a_forged_member(bundle_folder: Path, name: str, data: bytes, message: str) -> None:
    replace_member(bundle_folder, name, data)
    with pytest.raises(errors.BundleDamaged, match=message):
        load_bundle(bundle_folder)


@pytest.mark.parametrize(
    "array",
    [np.zeros(3, np.float32), np.zeros((3, 3), np.int16), np.zeros(3, np.complex64)],
    ids=["wrong shape", "wrong dimensions", "wrong type"],
)
def test_a_forged_array(bundle_folder: Path, tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "forged.npy", array)
    replace_member(bundle_folder, "idf.npy", (tmp_path / "forged.npy").read_bytes())
    with pytest.raises(errors.BundleDamaged, match=r"idf\.npy: expected float32"):
        load_bundle(bundle_folder)


def test_an_array_with_a_value_that_is_no_number(bundle_folder: Path, small_bundle: Bundle, tmp_path: Path) -> None:
    idf = small_bundle.idf.copy()
    idf[5] = np.inf
    np.save(tmp_path / "forged.npy", idf)
    replace_member(bundle_folder, "idf.npy", (tmp_path / "forged.npy").read_bytes())
    with pytest.raises(errors.BundleDamaged, match="holds a value that is not finite"):
        load_bundle(bundle_folder)


def test_the_shipped_bundle_is_small_and_open() -> None:
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) <= 10_000_000
    manifest = load_bundle().manifest
    assert {entry["tier"] for entry in manifest["corpora"]} == {"open", "own"}
    assert set(manifest["labels"]) >= {"incitement", "abuse"}
