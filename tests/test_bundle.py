"""Bundles: a round trip, and a distinct clear error for every way in which one can be unfit."""

from __future__ import annotations

import gzip
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

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
from moderation.passport import describe
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
    assert_allclose(Scorer(loaded).predict_proba(TEXTS), Scorer(small_bundle).predict_proba(TEXTS), rtol=0, atol=1e-12)


def test_the_same_model_gives_the_same_bytes(small_bundle: Bundle, tmp_path: Path) -> None:
    first, second = (save_bundle(small_bundle, tmp_path / name) for name in ("a", "b"))
    assert first["model_id"] == second["model_id"]
    for name in ("manifest.json", *MEMBERS):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_another_model_gets_another_id(small_bundle: Bundle, tmp_path: Path) -> None:
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
        ({"n_features": 3, "n_words": 2}, r"rows\.npy: expected .* \(3,\), got"),
        ({"n_words": -1}, "n_words: expected an integer from 0 to n_features"),
        ({"n_words": None}, "n_words: expected an integer from 0 to n_features, got None"),
        ({"n_words": 10**9}, "n_words: expected an integer from 0 to n_features"),
        ({"seed": "0"}, "seed: expected an integer from 0"),
        ({"scale": [1, 2]}, "scale: expected 3 finite numbers"),
        ({"intercept": [1, 2, float("nan")]}, "intercept: expected 3 finite numbers"),
        ({"intercept": ["1", 2, 3]}, "intercept: expected 3 finite numbers"),
        ({"scale": [1, 2, 10**400]}, "scale: expected 3 finite numbers"),
        ({"scale": [1, 2, True]}, "scale: expected 3 finite numbers"),
        ({"features": {"word_ngrams": [1, 2], "char_ngrams": [5, 2]}}, "char_ngrams: expected 1 <= fewest <= most"),
        ({"features": {"word_ngrams": [1, 10**9], "char_ngrams": [2, 5]}}, "word_ngrams: expected 1 <= fewest <= most"),
        ({"features": {"word_ngrams": "x", "char_ngrams": [2, 5]}}, "word_ngrams: expected two integers"),
        ({"features": []}, "features: expected word_ngrams and char_ngrams"),
        ({"members": []}, "members"),
        ({"members": {}}, r"members\.rows\.npy: expected bytes and sha256"),
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
    edit(bundle_folder, lambda manifest: manifest["members"]["rows.npy"].update(bytes=1 << 40))
    with pytest.raises(errors.BundleTooLarge, match=r"rows\.npy"):
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
    replace_member(bundle_folder, "rows.npy", (tmp_path / "forged.npy").read_bytes())
    with pytest.raises(errors.BundleDamaged, match=r"rows\.npy: not readable as an array"):
        load_bundle(bundle_folder)
    assert not ran.exists()


@pytest.mark.parametrize("data", [b"", b"\x93NUMPY\x01\x00"])
@pytest.mark.parametrize("name", [name for name in MEMBERS if name.endswith(".npy")])
def test_a_forged_member(bundle_folder: Path, name: str, data: bytes) -> None:
    replace_member(bundle_folder, name, data)
    with pytest.raises(errors.BundleDamaged, match=f"{name}: not readable as an array"):
        load_bundle(bundle_folder)


def array_file(header: str) -> bytes:
    """An .npy file with that header and no numbers."""
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()


def packed_arrays() -> bytes:
    out = io.BytesIO()
    np.savez(out, np.zeros(3, np.uint32))
    return out.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        packed_arrays(),
        array_file("{'descr': '<u4', 'fortran_order': False, 'shape': (3,"),
        array_file("{'descr': '<u4', 'fortran_order': False, 'shape': (" + "9" * 30 + ",), }\n"),
        array_file("{'descr': '<u4', 'fortran_order': False, 'shape': (-3,), }\n"),
        array_file("{'descr': ('<u4', 10**400), 'fortran_order': False, 'shape': (3,), }\n"),
        array_file("(" * 5_000),
        array_file("'" * 3),
    ],
    ids=["a zip", "a cut header", "a huge shape", "a shape below 0", "no type", "nested too deep", "no end"],
)
@pytest.mark.parametrize("name", ["rows.npy", "fingerprints.npy", "word_buckets.npy"])
def test_a_member_that_is_no_array(bundle_folder: Path, name: str, data: bytes) -> None:
    replace_member(bundle_folder, name, data)
    with pytest.raises(errors.BundleDamaged, match=f"{name}: not readable as an array"):
        load_bundle(bundle_folder)


@given(st.data())
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.filterwarnings("ignore")  # numpy warns of headers that it mends
def test_any_change_of_an_array_is_refused_or_harmless(bundle_folder: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["rows.npy", "fingerprints.npy", "char_buckets.npy"]))
    original = (bundle_folder / name).read_bytes()
    changed = bytearray(original)
    for place in data.draw(st.lists(st.integers(0, 127), max_size=4)):
        changed[place] = data.draw(st.sampled_from(b"()[]{}'\"\\,:.0x9\n -#\x00\xff\x93OV"))
    replace_member(bundle_folder, name, bytes(changed[: data.draw(st.sampled_from([30, 127, len(changed)]))]))
    try:
        load_bundle(bundle_folder)
    except errors.BundleError as error:
        assert name in str(error)
    finally:
        replace_member(bundle_folder, name, original)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"no gzip", "cannot be unpacked"),
        (gzip.compress(b"\xff\n", mtime=0), "not UTF-8 at byte 0"),
        (gzip.compress(b"no end", mtime=0), "the last line is cut short"),
        (gzip.compress(b"a\na\n", mtime=0), "an n-gram stands twice"),
        (gzip.compress(b"a\nb\n", mtime=0), "n-grams, got 2"),
    ],
)
def test_a_forged_vocabulary_is_refused_when_it_is_asked_for(bundle_folder: Path, data: bytes, message: str) -> None:
    replace_member(bundle_folder, "chars.txt.gz", data)
    bundle = load_bundle(bundle_folder)
    with pytest.raises(errors.BundleDamaged, match=message):
        list(bundle.chars)
    with pytest.raises(errors.BundleDamaged, match=message):
        Scorer(bundle, pure=True)


def test_a_vocabulary_that_unpacks_to_too_much(bundle_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moderation.bundle.MAX_MEMBER_BYTES", 100_000)
    replace_member(bundle_folder, "words.txt.gz", gzip.compress(bytes(200_000)))
    with pytest.raises(errors.BundleTooLarge, match=r"words\.txt\.gz: unpacks to more than 100000 bytes"):
        list(load_bundle(bundle_folder).words)


@pytest.mark.parametrize(
    "array",
    [np.zeros(3, np.float32), np.zeros((3, 3), np.int16), np.zeros(3, np.complex64)],
    ids=["wrong shape", "wrong dimensions", "wrong type"],
)
@pytest.mark.parametrize("name", ["rows.npy", "fingerprints.npy", "word_buckets.npy"])
def test_a_forged_array(bundle_folder: Path, tmp_path: Path, array: np.ndarray, name: str) -> None:
    np.save(tmp_path / "forged.npy", array)
    replace_member(bundle_folder, name, (tmp_path / "forged.npy").read_bytes())
    with pytest.raises(errors.BundleDamaged, match=rf"{name}: expected .*, got {array.dtype}"):
        load_bundle(bundle_folder)


def test_buckets_that_do_not_cut_the_features(bundle_folder: Path, tmp_path: Path) -> None:
    buckets = np.load(bundle_folder / "char_buckets.npy")
    for place, value in ((0, 1), (-1, 2**32 - 1), (len(buckets) // 2, 2**31)):
        forged = buckets.copy()
        forged[place] = value
        np.save(tmp_path / "forged.npy", forged)
        replace_member(bundle_folder, "char_buckets.npy", (tmp_path / "forged.npy").read_bytes())
        with pytest.raises(errors.BundleDamaged, match="expected places that rise from 0 to"):
            load_bundle(bundle_folder)


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_an_array_with_a_value_that_is_no_number(bundle_folder: Path, tmp_path: Path, value: float) -> None:
    rows = np.load(bundle_folder / "rows.npy")
    rows["idf"][5] = value
    np.save(tmp_path / "forged.npy", rows)
    replace_member(bundle_folder, "rows.npy", (tmp_path / "forged.npy").read_bytes())
    with pytest.raises(errors.BundleDamaged, match="holds a value that is not finite"):
        load_bundle(bundle_folder)


def test_an_ngram_that_stands_twice_is_not_saved(small_bundle: Bundle, tmp_path: Path) -> None:
    twice = replace(small_bundle, words=[small_bundle.words[1], *small_bundle.words[1:]])
    with pytest.raises(ValueError, match="does one stand twice"):
        save_bundle(twice, tmp_path / "twice")
    assert not list(tmp_path.iterdir())


def test_the_last_version_is_still_read(tmp_path: Path) -> None:
    folder = Path(__file__).parent / "bundles" / "version_1"
    expected = json.loads(folder.with_suffix(".json").read_text(encoding="utf-8"))
    for pure in (False, True):
        found = Scorer(load_bundle(folder), pure=pure).predict_proba(list(expected))
        assert_allclose(found, list(expected.values()), rtol=0, atol=1e-12)
    save_bundle(load_bundle(folder), tmp_path / "now")
    assert load_bundle(tmp_path / "now").manifest["version"] == FORMAT_VERSION
    assert_allclose(Scorer.load(tmp_path / "now").predict_proba(list(expected)), found, rtol=0, atol=1e-12)


def test_a_damaged_bundle_of_the_last_version(tmp_path: Path) -> None:
    shutil.copytree(Path(__file__).parent / "bundles" / "version_1", tmp_path / "old")
    replace_member(tmp_path / "old", "words.txt", b"a\na\n")
    with pytest.raises(errors.BundleDamaged, match=r"words\.txt: an n-gram stands twice"):
        load_bundle(tmp_path / "old")


ODD = [None, 3, "x", [], {}, [None], [3], ["x"], [{}], {"a": None}, {"a": 3}, {"a": "x"}, {"a": {}}, {"a": {"b": None}},
       {"a": {"b": "x"}}, {"a": {"b": 10**400}}, {"a": {"b": True}}, {"base_rates": 3}, {"base_rates": {"a": "x"}},
       [{"corpus": None, "train": 3}], [{"corpus": "x", "train": "many", "licence": []}]]  # fmt: skip


@pytest.mark.parametrize("name", ["calibration", "corpora", "metrics", "language"])
def test_a_passport_leaves_out_what_makes_no_sense(bundle_folder: Path, name: str) -> None:
    for value in ODD:
        edit(bundle_folder, lambda manifest, value=value: manifest.update({name: value}))  # type: ignore[misc]
        assert describe(load_bundle(bundle_folder).manifest).startswith("model     small+")


def test_a_passport_leaves_out_what_it_does_not_say(bundle_folder: Path) -> None:
    entries = [{"corpus": "x"}, {"corpus": "y", "train": 1_234, "licence": "CC0-1.0"}, {"train": 3}]
    rates, areas = {"abuse": 0.25, "threat": None}, {"ours": {"abuse": 0.9, "threat": "high"}, "theirs": {}}
    edit(
        bundle_folder,
        lambda manifest: manifest.update(corpora=entries, calibration={"base_rates": rates}, metrics=areas),
    )
    lines = describe(load_bundle(bundle_folder).manifest).split("\n")
    assert lines[lines.index("trained on") + 1 :][:2] == [
        f"  {'x':<24} {'':>13}  our own",
        f"  {'y':<24} {'1,234':>8} rows  CC0-1.0",
    ]
    assert "calibrated to these shares of comments: abuse 25.0%" in lines
    assert lines[-1] == f"  {'ours':<28} abuse 0.900"


def test_the_shipped_bundle_is_small_and_open() -> None:
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) <= 10_000_000
    manifest = load_bundle().manifest
    assert {entry["tier"] for entry in manifest["corpora"]} == {"open", "own"}
    assert set(manifest["labels"]) >= {"incitement", "abuse"}
