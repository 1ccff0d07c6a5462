"""The feature store: one LMDB file a shard, one record an image; written by `extract`, read by `vilbert`.

A shard is `name.lmdb` and its manifest `name.json`. The layout of a record stands in `extract/regions/record.py`.
"""

import hashlib
import json
import os
import struct
import weakref
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from shlex import quote
from typing import Literal, Self

import lmdb
import numpy as np
from pydantic import BaseModel, ConfigDict, JsonValue

from extract.regions.record import ALIGNMENT, SCHEMA_VERSION, Regions, pack, unpack
from extract.tables import begin_partial, whole_file

MAX_KEY_BYTES = 511  # LMDB's own limit
_RECORDS_PER_COMMIT = 64


class StoreManifest(BaseModel):
    """What all records of a shard have in common, in the JSON beside it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: int
    num_records: int
    first_key: str | None
    last_key: str | None
    sha256: str  # of the keys and records, in order
    feature_size: int
    num_classes: int  # with the background
    classes: tuple[str, ...]  # background first
    num_classes_kept: int | None  # null: the whole distribution
    attributes: tuple[str, ...]  # names; (): the detector names none
    box_source: Literal[
        "proposal", "regressed", "repooled", "given"
    ]  # the boxes; only of "regressed" features are others'
    detector: dict[str, JsonValue]  # sha256 of its weights, and what else tells one detector from another
    selection: dict[str, JsonValue]
    dtype: Literal["float16"]  # of the features

    def differs_from(self, other: "StoreManifest") -> list[str]:
        """Names of the fields that forbid to read the two shards as one store."""
        of_one_shard = {"num_records", "first_key", "last_key", "sha256"}
        names = set(type(self).model_fields) - of_one_shard
        return sorted(name for name in names if getattr(self, name) != getattr(other, name))


class RegionStoreWriter:
    """Writes one shard; used in a `with` block, after which store and manifest stand whole, or not at all.

    Equal records in equal order give an equal manifest, `sha256` included.
    """

    def __init__(
        self,
        path: Path,
        *,
        classes: tuple[str, ...],
        feature_size: int,
        num_classes_kept: int | None,
        box_source: Literal["proposal", "regressed", "repooled", "given"],
        detector: dict[str, JsonValue],
        selection: dict[str, JsonValue],
        attributes: tuple[str, ...] = (),
        map_size: int = 1 << 28,
    ) -> None:
        """Args:
        classes: names, background first.
        attributes: names, where the detector tells the likeliest of each region.
        map_size: bytes that the file may take at first; doubled whenever it is full.
        """
        if num_classes_kept is not None and not 1 <= num_classes_kept < len(classes) <= 1 << 16:
            raise ValueError(f"num_classes_kept is {num_classes_kept}, expected 1 to {len(classes) - 1} or null")
        self.path = path
        self._manifest = StoreManifest(
            schema_version=SCHEMA_VERSION,
            num_records=0,
            first_key=None,
            last_key=None,
            sha256="",
            feature_size=feature_size,
            num_classes=len(classes),
            classes=classes,
            num_classes_kept=num_classes_kept,
            attributes=attributes,
            box_source=box_source,
            detector=detector,
            selection=selection,
            dtype="float16",
        )
        self._map_size = map_size
        self._partial: Path  # while it is written
        self._pending: list[tuple[bytes, bytes]] = []
        self._keys: list[str] = []  # first and latest
        self._num_records = 0
        self._sha256 = hashlib.sha256()

    def __enter__(self) -> Self:
        self._partial = begin_partial(self.path)
        # No lock file and no sync a commit: nobody else sees the file before it is whole, and it is synced then.
        with self._disk_errors():
            self._env = lmdb.open(str(self._partial), subdir=False, map_size=self._map_size, lock=False, sync=False)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._env.close()
            self._partial.unlink(missing_ok=True)

    def put(self, key: str, regions: Regions) -> None:
        """Add the record of one image; keys come in ascending order of their bytes.

        Raises: ValueError for a key out of order, too long or empty, and for arrays that do not fit the store.
        """
        name = key.encode()
        if not 1 <= len(name) <= MAX_KEY_BYTES:
            raise ValueError(f"image key '{key[:50]}' has {len(name)} bytes, expected 1 to {MAX_KEY_BYTES}")
        if self._keys and name <= self._keys[-1].encode():
            raise ValueError(f"image key '{key}' comes after '{self._keys[-1]}', expected keys in ascending order")
        self._check(key, regions)
        record = pack(regions, num_classes_kept=self._manifest.num_classes_kept)
        self._sha256.update(struct.pack("<II", len(name), len(record)) + name + record)
        self._pending.append((name, record))
        self._keys = [*self._keys[:1], key]
        self._num_records += 1
        if len(self._pending) == _RECORDS_PER_COMMIT:
            self._commit()

    def _check(self, key: str, regions: Regions) -> None:
        expected = {"boxes": 4, "features": self._manifest.feature_size, "class_probs": self._manifest.num_classes}
        for name, width in expected.items():
            array = getattr(regions, name)
            if array.shape != (len(regions), width):
                raise ValueError(f"{name} of image '{key}' are {array.shape}, expected {(len(regions), width)}")
            if not np.isfinite(array).all():
                raise ValueError(f"{name} of image '{key}' hold values that are no numbers of {array.dtype}")
        if (regions.attribute_ids is not None) != bool(self._manifest.attributes):
            found = "no attributes" if regions.attribute_ids is None else "attributes"
            raise ValueError(f"image '{key}' has {found}, the store names {len(self._manifest.attributes)}")
        if regions.features.dtype != np.float16:
            raise ValueError(f"features of image '{key}' are {regions.features.dtype}, expected float16")

    def _commit(self) -> None:
        """Write what is pending; a full map loses the whole transaction, so it is run again in a larger one.

        Raises: OSError where the disk is full.
        """
        while self._pending:
            try:
                with self._disk_errors(), self._env.begin(write=True) as transaction:
                    for name, record in self._pending:
                        if not transaction.put(name, record, append=True):  # LMDB refuses without an exception
                            raise ValueError(f"{self.path} did not take image key '{name.decode()}': out of order")
                self._pending.clear()
            except lmdb.MapFullError:
                self._map_size *= 2
                self._env.set_mapsize(self._map_size)

    @contextmanager
    def _disk_errors(self) -> Iterator[None]:
        """Ends the writing with what a user can mend: of a full disk LMDB says "Input/output error"."""
        try:
            yield
        except lmdb.MapFullError:
            raise
        except lmdb.Error as error:
            self._partial.unlink(missing_ok=True)
            raise OSError(
                f"{self.path} could not be written: {error}; make room on its disk and start the same command again"
            ) from error

    def _finish(self) -> None:
        self._commit()
        with self._disk_errors():
            self._env.sync(True)
        self._env.close()
        update = {"num_records": self._num_records, "sha256": self._sha256.hexdigest()}
        if self._keys:
            update |= {"first_key": self._keys[0], "last_key": self._keys[-1]}
        manifest = manifest_path(self.path)
        manifest.unlink(missing_ok=True)  # an old one must never stand beside a new store
        self._partial.replace(self.path)
        with whole_file(manifest) as partial:
            partial.write_text(self._manifest.model_copy(update=update).model_dump_json(indent=2) + "\n")


class RegionStore(Mapping[str, Regions]):
    """All shards as one read-only mapping from image key to Regions, in ascending order of the keys.

    Files open on first use in each process, so a store may be pickled and may be used after a fork.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        """Raises: FileNotFoundError or ValueError for shards that are missing, damaged, of another schema version,
        of different detectors or settings, or that overlap.
        """
        shards = [(Path(path), read_manifest(path)) for path in paths]
        if not shards:
            raise ValueError("no shards: a store is read from at least one .lmdb file")
        first_path, first = shards[0]
        for path, manifest in shards[1:]:
            if names := first.differs_from(manifest):
                raise ValueError(
                    f"{path} and {first_path} differ in {', '.join(names)}; "
                    f"make one of them anew with `snakemake --forcerun=extract_regions {quote(str(path))}`"
                )
        self.manifest = first
        self._num_records = sum(manifest.num_records for _, manifest in shards)
        filled = sorted((_key_range(manifest), path) for path, manifest in shards if manifest.num_records)
        for ((_, last), path), ((start, _), next_path) in pairwise(filled):
            if start <= last:
                raise ValueError(
                    f"{path} and {next_path} overlap at image key '{start.decode()}'; give each shard once"
                )
        self._first_keys = [start for (start, _), _ in filled]
        self._paths = [path for _, path in filled]
        self._copies: dict[Path, Path] = {}
        self._opened: dict[Path, lmdb.Environment] = {}
        self._pid = os.getpid()

    def in_order(self, first: Iterable[str]) -> list[Path]:
        """The shards that have records: those of these images, in their order, before the others."""
        shards = (self._shard_of(key.encode()) for key in first)
        return list(dict.fromkeys([*(shard for shard in shards if shard), *self._paths]))

    def read_from(self, copies: Mapping[Path, Path]) -> None:
        """Read shards from copies from now on, by the paths of the shards; {}: all from where they lie."""
        self._copies, self._opened = dict(copies), {}

    @property
    def classes(self) -> tuple[str, ...]:
        """Names, background first."""
        return self.manifest.classes

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names; () where the detector names none."""
        return self.manifest.attributes

    @property
    def feature_size(self) -> int:
        return self.manifest.feature_size

    def __getitem__(self, key: str) -> Regions:
        name = key.encode()
        if shard := self._shard_of(name):
            environment = self._open(shard)
            with environment.begin(buffers=True) as transaction:
                if (view := transaction.get(name)) is not None:
                    return unpack(_pinned(view, environment), source=f"record of image '{key}' in {shard}")
        raise KeyError(f"image '{key}' is not in {self.described}")

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, str) or not (shard := self._shard_of(key.encode())):
            return False
        with self._open(shard).begin(buffers=True) as transaction:
            return transaction.get(key.encode()) is not None

    def __iter__(self) -> Iterator[str]:
        for path in self._paths:
            with self._open(path).begin() as transaction:
                yield from (bytes(name).decode() for name in transaction.cursor().iternext(values=False))

    def __len__(self) -> int:
        return self._num_records

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_opened": {}, "_pid": None}

    def _shard_of(self, name: bytes) -> Path | None:
        index = bisect_right(self._first_keys, name) - 1
        return self._paths[index] if index >= 0 and 1 <= len(name) <= MAX_KEY_BYTES else None

    def _open(self, path: Path) -> lmdb.Environment:
        if self._pid != os.getpid():
            self._opened, self._pid = {}, os.getpid()
        if path not in self._opened:
            copy = self._copies.get(path, path)
            self._opened[path] = _open_environment(copy, read_manifest(path).num_records, shard=path)
        return self._opened[path]

    @property
    def described(self) -> str:
        """Where it lies, for messages."""
        return str(self._paths[0]) if len(self._paths) == 1 else f"the {len(self._paths)} shards of this store"


def manifest_path(store: Path) -> Path:
    """Where the manifest of a shard stands."""
    return store.with_suffix(".json")


def read_manifest(store: Path) -> StoreManifest:
    """What a shard says of itself.

    Raises: FileNotFoundError, ValueError.
    """
    path = manifest_path(Path(store))
    remedy = f"make it anew with `snakemake --forcerun=extract_regions {quote(str(store))}`"
    for needed in (Path(store), path):
        if not needed.is_file():
            raise FileNotFoundError(
                f"no feature store at {store}: {needed} is missing; make it with `snakemake {quote(str(store))}`"
            )
    try:
        fields = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is no JSON ({error}); {remedy}") from error
    if not isinstance(fields, dict) or fields.get("schema_version") != SCHEMA_VERSION:
        version = fields.get("schema_version") if isinstance(fields, dict) else None
        raise ValueError(f"{path} has schema version {version}, expected {SCHEMA_VERSION}; {remedy}")
    return StoreManifest.model_validate(fields)


def _key_range(manifest: StoreManifest) -> tuple[bytes, bytes]:
    assert manifest.first_key is not None
    assert manifest.last_key is not None
    return manifest.first_key.encode(), manifest.last_key.encode()


# LMDB refuses to open a file twice in one process, so the stores of a process share what is open; by device and inode.
_ENVIRONMENTS: weakref.WeakValueDictionary[tuple[int, int], lmdb.Environment] = weakref.WeakValueDictionary()


def _open_environment(path: Path, num_records: int, *, shard: Path) -> lmdb.Environment:
    """Open a shard, or a copy of it, for reading, and see that all of its records are there."""
    status = path.stat()
    if (environment := _ENVIRONMENTS.get((status.st_dev, status.st_ino))) is not None:
        return environment
    remedy = f"make it anew with `snakemake --forcerun=extract_regions {quote(str(shard))}`"
    environment = open_whole_lmdb(path, remedy=remedy)
    if (num_found := environment.stat()["entries"]) != num_records:
        raise ValueError(f"{path} has {num_found} records, its manifest says {num_records}; {remedy}")
    _ENVIRONMENTS[status.st_dev, status.st_ino] = environment
    return environment


def open_whole_lmdb(path: Path, *, remedy: str) -> lmdb.Environment:
    """An LMDB file for reading, whole: a page beyond its end would kill the process.

    Raises: ValueError that ends in `remedy` for a file that is damaged, cut off or no LMDB.
    """
    try:
        environment = lmdb.open(str(path), subdir=False, readonly=True, lock=False, readahead=False, create=False)
    except lmdb.Error as error:
        raise ValueError(f"{path} is no whole LMDB file ({error}); {remedy}") from error
    num_bytes = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    if (size := path.stat().st_size) < num_bytes:
        raise ValueError(f"{path} is cut off: {size} bytes, expected {num_bytes}; {remedy}")
    return environment


class _Pinned:
    """Bytes of an open file as numpy takes them; an array that looks at them keeps the file open."""

    def __init__(self, view: memoryview, environment: lmdb.Environment) -> None:
        self.address = np.frombuffer(view, np.uint8).__array_interface__["data"][0]
        self.__array_interface__ = {"version": 3, "shape": (len(view),), "typestr": "|u1", "data": (self.address, True)}
        self.environment = environment


def _pinned(view: memoryview, environment: lmdb.Environment) -> np.ndarray:
    """The bytes of a record, without a copy; short records, which LMDB packs without alignment, are copied."""
    pinned = _Pinned(view, environment)
    if pinned.address % ALIGNMENT:
        return np.frombuffer(bytes(view), np.uint8)
    return np.asarray(pinned)
