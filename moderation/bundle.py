"""A model on disk: a folder with a manifest, arrays and vocabularies. Data only; loading runs no code.

=====================  ====================================================================================
``manifest.json``      what the model is, and size and SHA-256 of every other member
``rows.npy``           a record per feature: float32 ``idf``, inverse document frequency, and int16 ``weights``
                       (n_labels,), logistic regression weights in units of the label's scale
``fingerprints.npy``   uint32 (n_features,), by which a feature is found (`moderation.index`)
``word_buckets.npy``   uint32 (2**bits + 1,), where each bucket of word n-grams begins
``char_buckets.npy``   the same for character n-grams
``words.txt.gz``       word n-grams, one a line, UTF-8; line k is feature k
``chars.txt.gz``       character n-grams; line k is feature k after all the words
=====================  ====================================================================================

The arrays are mapped, not read, so that processes share one copy; the vocabularies are unpacked when somebody asks for
them, for scoring does not. Every member is checked against the manifest, and every size against the bounds below,
before it is used.

Version 1 had ``words.txt``, ``chars.txt``, ``idf.npy`` and ``weights.npy`` and no index; it is still read.

To change the format: raise ``FORMAT_VERSION``, keep reading the versions before it, and keep a bundle of the last
version among the tests. Readers refuse a version above their own with `BundleTooNew`.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from moderation.comment import is_finite
from moderation.errors import BundleDamaged, BundleForeign, BundleNotFound, BundleTooLarge, BundleTooNew
from moderation.features import FeatureSettings
from moderation.index import Index, bucket_bits, build_index, row_type

FORMAT = "moderation-bundle"
FORMAT_VERSION = 2
MANIFEST = "manifest.json"
VOCABULARIES = ("words.txt.gz", "chars.txt.gz")
MEMBERS = ("rows.npy", "fingerprints.npy", "word_buckets.npy", "char_buckets.npy", *VOCABULARIES)
MEMBERS_1 = ("words.txt", "chars.txt", "idf.npy", "weights.npy")

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
    index: Index | None = None
    """The features sorted for the compiled kernel, when they stand in that order; else the scorer sorts them."""
    folder: Path | None = field(default=None, init=False, compare=False)
    """Where `load_bundle` read it, absolute; None for any other, also one that `dataclasses.replace` has changed."""

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
    bundle = (_load_1 if manifest["version"] == 1 else _load_2)(folder, manifest)
    object.__setattr__(bundle, "folder", folder.absolute())  # frozen for all others
    return bundle


def _load_2(folder: Path, manifest: dict[str, Any]) -> Bundle:
    features, n_words = manifest["n_features"], manifest.get("n_words")
    if type(n_words) is not int or not 0 <= n_words <= features:
        raise BundleDamaged(f"{folder / MANIFEST}: n_words: expected an integer from 0 to n_features, got {n_words!r}")
    seed = manifest.get("seed")
    if type(seed) is not int or not 0 <= seed < 1 << 32:
        raise BundleDamaged(f"{folder / MANIFEST}: seed: expected an integer from 0 to 2**32 - 1, got {seed!r}")
    for name in MEMBERS:
        _check_member(folder, name, manifest["members"])
    rows = _array(folder / "rows.npy", row_type(len(manifest["labels"])), (features,))
    words, chars = (
        _Vocabulary(folder / name, length)
        for name, length in zip(VOCABULARIES, (n_words, features - n_words), strict=True)
    )
    index = Index(
        rows,
        _array(folder / "fingerprints.npy", np.dtype("<u4"), (features,)),
        _buckets(folder / "word_buckets.npy", n_words),
        _buckets(folder / "char_buckets.npy", features - n_words),
        seed,
    )
    return _bundle(manifest, words, chars, rows["idf"], rows["weights"], index)


def _load_1(folder: Path, manifest: dict[str, Any]) -> Bundle:
    labels, features = manifest["labels"], manifest["n_features"]
    for name in MEMBERS_1:
        _check_member(folder, name, manifest["members"])
    words, chars = (_lines(folder / name, (folder / name).read_bytes()) for name in ("words.txt", "chars.txt"))
    if len(words) + len(chars) != features:
        raise BundleDamaged(f"{folder}: expected {features} n-grams, got {len(words)} words and {len(chars)} chars")
    idf = _array(folder / "idf.npy", np.dtype("<f4"), (features,))
    return _bundle(
        manifest, words, chars, idf, _array(folder / "weights.npy", np.dtype("<i2"), (features, len(labels)))
    )


def _bundle(
    manifest: dict[str, Any],
    words: Sequence[str],
    chars: Sequence[str],
    idf: NDArray[np.float32],
    weights: NDArray[np.int16],
    index: Index | None = None,
) -> Bundle:
    return Bundle(
        manifest=manifest,
        labels=tuple(manifest["labels"]),
        settings=FeatureSettings.from_json(manifest["features"]),
        words=words,
        chars=chars,
        idf=idf,
        weights=weights,
        scale=np.array(manifest["scale"], dtype=np.float64),
        intercept=np.array(manifest["intercept"], dtype=np.float64),
        index=index,
    )


def save_bundle(bundle: Bundle, path: Path | str) -> dict[str, Any]:
    """Write a bundle, replacing what stands at `path`, and return its complete manifest.

    The manifest's ``model_id`` is completed with a digest of all the members and settings, so two models with one
    id are one model. Features are written in the order of the index.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        manifest = _write_members(bundle, folder)
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        folder.chmod(0o755)
        if path.exists():
            shutil.rmtree(path)
        os.replace(folder, path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return manifest


def _write_members(bundle: Bundle, folder: Path) -> dict[str, Any]:
    index, order = build_index(bundle.words, bundle.chars, bundle.idf, bundle.weights)
    n_words, digests = len(bundle.words), []
    for name in ("rows", "fingerprints", "word_buckets", "char_buckets"):
        np.save(folder / f"{name}.npy", getattr(index, name), allow_pickle=False)
        digests.append(hashlib.sha256((folder / f"{name}.npy").read_bytes()).hexdigest())
    blocks = zip(VOCABULARIES, (bundle.words, bundle.chars), (order[:n_words], order[n_words:] - n_words), strict=True)
    for name, grams, places in blocks:
        grams = list(grams)
        data = "".join(f"{grams[place]}\n" for place in places).encode("utf-8")
        (folder / name).write_bytes(_packed(data))
        digests.append(hashlib.sha256(data).hexdigest())
    core = {
        "labels": list(bundle.labels),
        "features": bundle.settings.to_json(),
        "n_features": len(order),
        "n_words": n_words,
        "seed": index.seed,
        "scale": [float(value) for value in bundle.scale],
        "intercept": [float(value) for value in bundle.intercept],
    }
    # Of the plain vocabularies, for releases of zlib pack differently.
    digest = hashlib.sha256(json.dumps([core, digests], sort_keys=True).encode()).hexdigest()
    core["members"] = {name: _describe_member((folder / name).read_bytes()) for name in MEMBERS}
    name = str(bundle.manifest.get("model_id", "model")).split("+")[0]
    head = {"format": FORMAT, "version": FORMAT_VERSION}
    about = {key: value for key, value in bundle.manifest.items() if key not in head | core}
    return head | about | {"model_id": f"{name}+{digest[:12]}"} | core


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
        if not isinstance(values, list) or len(values) != len(labels) or not all(map(is_finite, values)):
            raise BundleDamaged(f"{path}: {name}: expected {len(labels)} finite numbers")
    if not isinstance(manifest.get("model_id"), str) or not isinstance(manifest.get("members"), dict):
        raise BundleDamaged(f"{path}: expected model_id (a string) and members (an object)")
    try:
        FeatureSettings.from_json(manifest.get("features", {}))
    except (ValueError, TypeError) as error:
        raise BundleDamaged(f"{path}: {error}") from error


def _check_member(folder: Path, name: str, members: Mapping[str, Any]) -> None:
    """Refuse a member whose size or checksum is not what the manifest says, or beyond the bounds."""
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
    with path.open("rb") as file:
        if not size:
            digest = hashlib.sha256()
        else:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                digest = hashlib.sha256(data)
    if digest.hexdigest() != expected.get("sha256"):
        raise BundleDamaged(f"{path}: its SHA-256 is not the one in the manifest")


class _Vocabulary(Sequence[str]):
    """The n-grams of one block, unpacked from a verified member when they are first asked for."""

    def __init__(self, path: Path, length: int) -> None:
        self._path = path
        self._length = length
        self._grams: list[str] | None = None

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[str]: ...
    def __getitem__(self, place: int | slice) -> str | Sequence[str]:
        if self._grams is None:
            self._grams = self._read()
        return self._grams[place]

    def __iter__(self) -> Iterator[str]:
        if self._grams is None:
            self._grams = self._read()
        return iter(self._grams)

    def _read(self) -> list[str]:
        unpack = zlib.decompressobj(wbits=31)
        try:
            data = unpack.decompress(self._path.read_bytes(), MAX_MEMBER_BYTES)
        except (OSError, zlib.error) as error:
            raise BundleDamaged(f"{self._path}: cannot be unpacked") from error
        if unpack.unconsumed_tail:
            raise BundleTooLarge(f"{self._path}: unpacks to more than {MAX_MEMBER_BYTES} bytes")
        grams = _lines(self._path, data)
        if len(grams) != self._length:
            raise BundleDamaged(f"{self._path}: expected {self._length} n-grams, got {len(grams)}")
        return grams


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


def _buckets(path: Path, features: int) -> NDArray[np.uint32]:
    """Map the buckets of a block and check that they cut its features into stretches."""
    buckets = _array(path, np.dtype("<u4"), ((1 << bucket_bits(features)) + 1,))
    if buckets[0] != 0 or buckets[-1] != features or (buckets[1:] < buckets[:-1]).any():
        raise BundleDamaged(f"{path}: expected places that rise from 0 to {features}")
    return buckets


def _packed(data: bytes) -> bytes:
    """Pack with gzip, the same bytes every time; more memory than `gzip.compress` takes packs a little better."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS, 9)
    return packer.compress(data) + packer.flush()


def _array(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Map an array whose checksum has been verified; refuse another type or shape than the manifest says."""
    array: NDArray[Any]
    try:
        if shape[0]:
            array = np.lib.format.open_memmap(path, mode="r")
        else:  # nothing to map
            with path.open("rb") as file:
                array = np.lib.format.read_array(file, allow_pickle=False)
    except Exception as error:  # numpy reads headers as Python and lets through what its tokenizer and integers raise
        raise BundleDamaged(f"{path}: not readable as an array") from error
    if array.dtype != dtype or array.shape != shape:
        raise BundleDamaged(f"{path}: expected {dtype} {shape}, got {array.dtype} {array.shape}")
    numbers = array["idf"] if dtype.names else array
    if not np.isfinite(numbers).all():
        raise BundleDamaged(f"{path}: holds a value that is not finite")
    return array
