"""Region features as others published them: which rows a source has, and the fields of one row, read in any order.

Fields have the names of bottom-up attention's TSV whatever the format calls them; arrays come as base64 or numpy.

Source: script/extract_features.py and script/convert_to_lmdb.py of facebookresearch/vilbert-multi-task;
features_extraction/detectron2_proposal_maxnms.py, large_tsv_to_h5.py and h5_to_lmdb.py of e-bug/volta.
"""

import io
import os
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
from tqdm import tqdm

from extract.detection.restricted_pickle import load_pickle
from extract.plain_files import files_below, plain_status
from extract.regions.store import open_whole_lmdb

SIZES = ("image_w", "image_h", "num_boxes")
BOTTOM_UP_COLUMNS = ("image_id", *SIZES, "boxes", "features", "cls_prob")  # the last one is not always there
LXMERT_COLUMNS = (
    "image_id", "image_h", "image_w", "objects_id", "objects_conf", "attrs_id", "attrs_conf", "num_boxes", "boxes",
    "features",
)  # fmt: skip
NAMES = {  # ours, by those of VOLTA, vilbert-multi-task and bottom-up-attention.pytorch
    "img_w": "image_w", "image_width": "image_w", "img_h": "image_h", "image_height": "image_h", "bbox": "boxes",
    "num_bbox": "num_boxes", "num_objects": "num_boxes", "x": "features", "obj_id": "objects_id",
    "obj_conf": "objects_conf", "attr_id": "attrs_id", "attr_conf": "attrs_conf",
}  # fmt: skip
H5_FIELDS = (*SIZES, "boxes", "features", "cls_prob", "objects_id", "objects_conf", "attrs_id", "attrs_conf")
KEY_LIST = b"keys"  # the record of an LMDB that lists the others
MAX_ROW_BYTES = 1 << 28  # of an image, unpacked; 100 regions of 2048 numbers and 1601 classes have 2 MB as base64
BYTE_ORDER_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}".encode()  # what editors put before a text


class FeatureFormat(StrEnum):
    """What is read."""

    BOTTOM_UP_TSV = "bottom_up_tsv"  # of bottom-up attention, and of its fork for ViLBERT with cls_prob
    LXMERT_TSV = "lxmert_tsv"
    VILBERT_LMDB = "vilbert_lmdb"  # of vilbert_beta (base64), of vilbert-multi-task and VOLTA (arrays)
    VILBERT_NPY = "vilbert_npy"  # of vilbert-multi-task, a file an image
    VOLTA_H5 = "volta_h5"  # a group an image
    MILVLG_NPZ = "milvlg_npz"  # of bottom-up-attention.pytorch, a file an image


class RowError(Exception):
    """A row that cannot be a record: which rule it breaks, and the value that the rule objects to."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Row(NamedTuple):
    """Where an image's features stand."""

    image_id: str
    number: int  # in the order of the source, from 1
    place: Any  # what the source finds it by


class FeatureSource(Protocol):
    """Features that lie somewhere."""

    def rows(self) -> Iterator[Row]:
        """All rows, without their features."""

    def fields(self, row: Row) -> dict[str, Any]:
        """Raises: RowError if the row is damaged."""


def open_source(feature_format: FeatureFormat, path: Path) -> FeatureSource:
    """Raises: FileNotFoundError or ValueError if nothing of this format is there."""
    if not path.exists():
        raise FileNotFoundError(f"no features at {path}")
    match feature_format:
        case FeatureFormat.BOTTOM_UP_TSV:
            return TsvSource(path, BOTTOM_UP_COLUMNS, num_optional=1)
        case FeatureFormat.LXMERT_TSV:
            return TsvSource(path, LXMERT_COLUMNS, num_optional=0)
        case FeatureFormat.VILBERT_LMDB:
            return LmdbSource(path)
        case FeatureFormat.VILBERT_NPY:
            return NpySource(path)
        case FeatureFormat.VOLTA_H5:
            return H5Source(path)
        case FeatureFormat.MILVLG_NPZ:
            return NpzSource(path)


class TsvSource:
    """A line an image, no header. Lines are split by hand: Python's csv gives up beyond 131,072 characters."""

    def __init__(self, path: Path, columns: tuple[str, ...], *, num_optional: int) -> None:
        self.path = path
        self.columns = columns
        self.widths = range(len(columns) - num_optional, len(columns) + 1)

    def rows(self) -> Iterator[Row]:
        size = self.path.stat().st_size
        with self.path.open("rb") as file, tqdm(total=size, desc="lines", unit="B", unit_scale=True) as bar:
            if file.read(len(BYTE_ORDER_MARK)) != BYTE_ORDER_MARK:
                file.seek(0)
            place, number = file.tell(), 0
            while line := file.readline(MAX_ROW_BYTES):
                number += 1
                yield Row(line.split(b"\t", 1)[0].decode(errors="replace").strip(), number, place)
                while line and not line.endswith(b"\n"):  # the rest of a longer one
                    line = file.readline(MAX_ROW_BYTES)
                place = file.tell()
                bar.update(place - bar.n)

    def fields(self, row: Row) -> dict[str, Any]:
        with self.path.open("rb") as file:
            file.seek(row.place)
            line = file.readline(MAX_ROW_BYTES)
        if len(line) == MAX_ROW_BYTES:
            raise RowError("too_large", f"a line of {MAX_ROW_BYTES} bytes or more")
        values = line.decode(errors="replace").rstrip("\r\n").split("\t")
        if len(values) not in self.widths:
            raise RowError("wrong_columns", f"{len(values)}, expected {' or '.join(map(str, self.widths))}")
        return dict(zip(self.columns, values, strict=False))


class LmdbSource:
    """A pickled dict an image, under its id."""

    def __init__(self, path: Path) -> None:
        self.environment = open_whole_lmdb(path / "data.mdb" if path.is_dir() else path, remedy="copy it again")

    def rows(self) -> Iterator[Row]:
        with self.environment.begin() as transaction:
            keys = (key for key in transaction.cursor().iternext(values=False) if key != KEY_LIST)
            for number, key in enumerate(keys, start=1):
                yield Row(key.decode(errors="replace"), number, key)

    def fields(self, row: Row) -> dict[str, Any]:
        with self.environment.begin() as transaction:
            return _named(_dict_of(transaction.get(row.place, default=b"")))


class FilesSource(ABC):
    """A file an image, called by its id."""

    suffix: ClassVar[str]

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def rows(self) -> Iterator[Row]:
        paths = (path for path in files_below(self.folder) if path.suffix == self.suffix)
        for number, path in enumerate(paths, start=1):
            yield Row(os.fsencode(path.stem).decode(errors="replace"), number, path)

    def fields(self, row: Row) -> dict[str, Any]:
        try:
            return _named(self.read(row.place))
        except RowError:
            raise
        except Exception as error:  # zipfile and numpy raise whatever a stranger's bytes make them trip over
            raise RowError("damaged", f"{row.place.name}: {type(error).__name__} {error}") from error

    @abstractmethod
    def read(self, path: Path) -> dict[str, Any]:
        """What a file holds, by its own names."""


class NpySource(FilesSource):
    """Each a pickled dict."""

    suffix = ".npy"

    def read(self, path: Path) -> dict[str, Any]:
        if (size := plain_status(path).st_size) > MAX_ROW_BYTES:
            raise RowError("too_large", f"{path.name} has {size} bytes, at most {MAX_ROW_BYTES}")
        return _dict_of(_pickle_in(path.read_bytes()))


class NpzSource(FilesSource):
    """Each with arrays, and a pickled dict of what the detector saw."""

    suffix = ".npz"

    def read(self, path: Path) -> dict[str, Any]:
        members = _members_of(path)
        info = _dict_of(_pickle_in(members.pop("info"))) if "info" in members else {}
        return info | {name: np.lib.format.read_array(io.BytesIO(data)) for name, data in members.items()}


class H5Source:
    """An HDF5 file with a group an image, called by its id, and in it an array a field."""

    def __init__(self, path: Path) -> None:
        try:
            import h5py
        except ImportError as error:
            raise ImportError(f"{path} needs the package h5py; pip install 'vilbert[h5]'") from error
        plain_status(path)
        self.h5py = h5py
        try:
            self.file = h5py.File(path, "r")
            self.names = list(self.file)
        except (OSError, RuntimeError, ValueError, LookupError) as error:
            raise ValueError(f"{path} is no whole HDF5 file ({error}); copy it again") from error

    def rows(self) -> Iterator[Row]:
        for number, name in enumerate(self.names, start=1):
            yield Row(os.fsencode(name).decode(errors="replace"), number, name)

    def fields(self, row: Row) -> dict[str, Any]:
        try:
            group = self._own(self.file, row.place)
            if not isinstance(group, self.h5py.Group):
                raise RowError("damaged", "an array, expected a group with an array a field")
            named = {NAMES.get(name, name): name for name in group}
            return {field: self._array(group, named[field]) for field in H5_FIELDS if field in named}
        except RowError:
            raise
        except Exception as error:  # h5py raises whatever a stranger's bytes make the library trip over
            raise RowError("damaged", f"{type(error).__name__} {error}") from error

    def _array(self, group: Any, name: str) -> Any:
        """The numbers of a field; of those that are in the file itself."""
        data = self._own(group, name)
        if not isinstance(data, self.h5py.Dataset) or data.is_virtual or data.external or data.dtype.hasobject:
            raise RowError("damaged", f"{name} is no array of numbers in the file itself")
        if data.nbytes > MAX_ROW_BYTES:
            raise RowError("too_large", f"{name} unfolds to {data.nbytes} bytes, at most {MAX_ROW_BYTES}")
        return data[()]

    def _own(self, group: Any, name: str) -> Any:
        """What stands under a name, unless that leads elsewhere: to another file of whoever reads."""
        if not isinstance(group.get(name, getlink=True), self.h5py.HardLink):
            raise RowError("damaged", f"{name} is a link, expected what VOLTA writes")
        return group[name]


def _named(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields by our names."""
    return {NAMES.get(name, name): value for name, value in fields.items()}


def _members_of(path: Path) -> dict[str, bytes]:
    """The files of an npz by their names.

    Raises: RowError if they unfold to more than an image has.
    """
    plain_status(path)
    with zipfile.ZipFile(path) as archive:
        if (size := sum(member.file_size for member in archive.infolist())) > MAX_ROW_BYTES:
            raise RowError("too_large", f"{path.name} unfolds to {size} bytes, at most {MAX_ROW_BYTES}")
        return {name.removesuffix(".npy"): archive.read(name) for name in archive.namelist()}


def _dict_of(data: bytes) -> dict[str, Any]:
    """A pickled dict, or one that stands alone in an array, as numpy saves it."""
    try:
        content = load_pickle(data, source="the record")
    except ValueError as error:
        raise RowError("damaged", str(error)) from error
    if isinstance(content, np.ndarray) and content.size == 1:
        content = content.item()
    if not isinstance(content, dict):
        raise RowError("damaged", f"a {type(content).__name__}, expected a dict")
    return content


def _pickle_in(npy: bytes) -> bytes:
    """What follows the header of an array of objects."""
    stream = io.BytesIO(npy)
    np.lib.format.read_magic(stream)
    np.lib.format.read_array_header_1_0(stream)
    return stream.read()
