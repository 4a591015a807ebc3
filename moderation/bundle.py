"""A model on disk: a folder with a manifest, two vocabularies and two arrays. Data only; loading runs no code.

=====================  ====================================================================================
``manifest.json``      what the model is, and size, SHA-256 and shape of every other member
``words.txt``          word n-grams, one a line, UTF-8; line k is feature k
``chars.txt``          character n-grams; line k is feature k after all the words
``idf.npy``            float32 (n_features,), inverse document frequency
``weights.npy``        int16 (n_features, n_labels), logistic regression weights in units of the label's scale
=====================  ====================================================================================

Every member is checked against the manifest, and every size against the bounds below, before it is used.

To change the format: raise ``FORMAT_VERSION``, keep reading the versions before it, and keep a bundle of the last
version among the tests. Readers refuse a version above their own with `BundleTooNew`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moderation.errors import BundleDamaged, BundleForeign, BundleNotFound, BundleTooLarge, BundleTooNew
from moderation.features import FeatureSettings

FORMAT = "moderation-bundle"
FORMAT_VERSION = 1
MANIFEST = "manifest.json"
MEMBERS = ("words.txt", "chars.txt", "idf.npy", "weights.npy")

MAX_MANIFEST_BYTES = 1 << 20
MAX_MEMBER_BYTES = 256 << 20
MAX_FEATURES = 1 << 23
MAX_LABELS = 64

SHIPPED = Path(__file__).parent / "model"
"""The model that comes with the package."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A model in memory."""

    manifest: Mapping[str, Any]
    """The passport: what the model is, where it comes from, how well it does."""
    labels: tuple[str, ...]
    """What the model scores, in the order of the columns."""
    settings: FeatureSettings
    """Which n-grams it looks at."""
    words: Sequence[str]
    """Word n-grams; position k is feature k."""
    chars: Sequence[str]
    """Character n-grams; position k is feature ``len(words) + k``."""
    idf: NDArray[np.float32]
    """Inverse document frequency per feature, shape (n_features,)."""
    weights: NDArray[np.int16]
    """Weights in units of `scale`, shape (n_features, n_labels)."""
    scale: NDArray[np.float64]
    """Log-odds per unit of weight, shape (n_labels,)."""
    intercept: NDArray[np.float64]
    """Log-odds of a text without any known feature, shape (n_labels,)."""

    @property
    def model_id(self) -> str:
        """The model's name, which follows from its content."""
        return str(self.manifest["model_id"])


def load_bundle(path: Path | str | None = None) -> Bundle:
    """Read and verify a bundle.

    Parameters
    ----------
    path : path of the bundle's folder, default: the model that comes with the package

    Raises
    ------
    BundleNotFound, BundleForeign, BundleTooNew, BundleTooLarge, BundleDamaged
        each for its own reason, naming the member, what the manifest says and what was found
    """
    folder = SHIPPED if path is None else Path(path)
    manifest = _read_manifest(folder)
    labels, features = manifest["labels"], manifest["n_features"]
    members = {name: _read_member(folder, name, manifest["members"]) for name in MEMBERS}
    words, chars = (_lines(folder / name, members[name]) for name in ("words.txt", "chars.txt"))
    if len(words) + len(chars) != features:
        raise BundleDamaged(f"{folder}: expected {features} n-grams, got {len(words)} words and {len(chars)} chars")
    return Bundle(
        manifest=manifest,
        labels=tuple(labels),
        settings=FeatureSettings.from_json(manifest["features"]),
        words=words,
        chars=chars,
        idf=_array(folder / "idf.npy", np.dtype("<f4"), (features,)),
        weights=_array(folder / "weights.npy", np.dtype("<i2"), (features, len(labels))),
        scale=np.array(manifest["scale"], dtype=np.float64),
        intercept=np.array(manifest["intercept"], dtype=np.float64),
    )


def save_bundle(bundle: Bundle, path: Path | str) -> dict[str, Any]:
    """Write a bundle, replacing what stands at `path`, and return its complete manifest.

    The manifest's ``model_id`` is completed with a digest of all the members and settings, so two models with one
    id are one model.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        for name, grams in (("words.txt", bundle.words), ("chars.txt", bundle.chars)):
            (folder / name).write_bytes("".join(f"{gram}\n" for gram in grams).encode("utf-8"))
        np.save(folder / "idf.npy", bundle.idf.astype("<f4"), allow_pickle=False)
        np.save(folder / "weights.npy", np.ascontiguousarray(bundle.weights.astype("<i2")), allow_pickle=False)
        manifest = _manifest(bundle, folder)
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        folder.chmod(0o755)
        if path.exists():
            shutil.rmtree(path)
        os.replace(folder, path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return manifest


def _manifest(bundle: Bundle, folder: Path) -> dict[str, Any]:
    members = {name: _describe_member((folder / name).read_bytes()) for name in MEMBERS}
    core = {
        "labels": list(bundle.labels),
        "features": bundle.settings.to_json(),
        "n_features": len(bundle.words) + len(bundle.chars),
        "scale": [float(value) for value in bundle.scale],
        "intercept": [float(value) for value in bundle.intercept],
        "members": members,
    }
    digest = hashlib.sha256(json.dumps(core, sort_keys=True).encode()).hexdigest()
    name = str(bundle.manifest.get("model_id", "model")).split("+")[0]
    about = {key: value for key, value in bundle.manifest.items() if key not in core}
    return {"format": FORMAT, "version": FORMAT_VERSION} | about | {"model_id": f"{name}+{digest[:12]}"} | core


def _describe_member(data: bytes) -> dict[str, Any]:
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest and check all that can be checked without the other members."""
    path = folder / MANIFEST
    if not folder.exists():
        raise BundleNotFound(f"{folder}: there is no model here")
    if not path.is_file():
        raise BundleForeign(f"{folder}: not a model bundle, for it has no {MANIFEST}")
    if path.stat().st_size > MAX_MANIFEST_BYTES:
        raise BundleTooLarge(f"{path}: {path.stat().st_size} bytes, more than {MAX_MANIFEST_BYTES}")
    try:
        manifest = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise BundleDamaged(f"{path}: not readable as JSON") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise BundleForeign(f"{path}: not a model bundle, for its format is not {FORMAT!r}")
    version = manifest.get("version")
    if type(version) is not int or version < 1:
        raise BundleDamaged(f"{path}: version: expected an integer from 1, got {version!r}")
    if version > FORMAT_VERSION:
        raise BundleTooNew(f"{path}: format version {version}; this release reads up to {FORMAT_VERSION}")
    _check_manifest(path, manifest)
    return manifest


def _check_manifest(path: Path, manifest: dict[str, Any]) -> None:
    labels, features = manifest.get("labels"), manifest.get("n_features")
    if not isinstance(labels, list) or not labels or not all(isinstance(label, str) for label in labels):
        raise BundleDamaged(f"{path}: labels: expected a list of names")
    if len(set(labels)) != len(labels):
        raise BundleDamaged(f"{path}: labels: a name stands twice")
    if type(features) is not int or features < 0:
        raise BundleDamaged(f"{path}: n_features: expected an integer from 0, got {features!r}")
    if len(labels) > MAX_LABELS or features > MAX_FEATURES:
        raise BundleTooLarge(
            f"{path}: {len(labels)} labels and {features} features; at most {MAX_LABELS} and {MAX_FEATURES} are allowed"
        )
    for name in ("scale", "intercept"):
        values = manifest.get(name)
        numbers = values if isinstance(values, list) and all(type(value) in (int, float) for value in values) else []
        if len(numbers) != len(labels) or not np.isfinite(numbers).all():
            raise BundleDamaged(f"{path}: {name}: expected {len(labels)} finite numbers")
    if not isinstance(manifest.get("model_id"), str) or not isinstance(manifest.get("members"), dict):
        raise BundleDamaged(f"{path}: expected model_id (a string) and members (an object)")
    try:
        FeatureSettings.from_json(manifest.get("features", {}))
    except (ValueError, TypeError) as error:
        raise BundleDamaged(f"{path}: {error}") from error


def _read_member(folder: Path, name: str, members: Mapping[str, Any]) -> bytes:
    """Read one member whole, after its size and before its use; return its bytes if the checksum agrees."""
    expected, path = members.get(name), folder / name
    if not isinstance(expected, dict) or type(expected.get("bytes")) is not int:
        raise BundleDamaged(f"{folder / MANIFEST}: members.{name}: expected bytes and sha256")
    if not path.is_file():
        raise BundleDamaged(f"{path}: missing")
    size = path.stat().st_size
    if max(size, expected["bytes"]) > MAX_MEMBER_BYTES:
        raise BundleTooLarge(f"{path}: {max(size, expected['bytes'])} bytes, more than {MAX_MEMBER_BYTES}")
    if size != expected["bytes"]:
        raise BundleDamaged(f"{path}: expected {expected['bytes']} bytes, got {size}")
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != expected.get("sha256"):
        raise BundleDamaged(f"{path}: its SHA-256 is not the one in the manifest")
    return data


def _lines(path: Path, data: bytes) -> list[str]:
    try:
        lines = data.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise BundleDamaged(f"{path}: not UTF-8 at byte {error.start}") from error
    if lines.pop() != "":
        raise BundleDamaged(f"{path}: the last line is cut short")
    if len(set(lines)) != len(lines):
        raise BundleDamaged(f"{path}: an n-gram stands twice")
    return lines


def _array(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Map an array whose checksum has been verified; refuse another type or shape than the manifest says."""
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r" if shape[0] else None, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise BundleDamaged(f"{path}: not readable as an array") from error
    if array.dtype != dtype or array.shape != shape:
        raise BundleDamaged(f"{path}: expected {dtype} {shape}, got {array.dtype} {array.shape}")
    if not np.isfinite(array).all():
        raise BundleDamaged(f"{path}: holds a value that is not finite")
    return array
