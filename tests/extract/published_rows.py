"""Tiny files in the formats that others publish features in."""

import base64
import pickle
from pathlib import Path

import h5py
import lmdb
import numpy as np

from extract.published.regions import Expected

NUM_CLASSES = 5
FEATURE_SIZE = 7
NUM_ATTRIBUTES = 11
EXPECTED = Expected(
    feature_size=FEATURE_SIZE, num_classes=NUM_CLASSES, num_attributes=NUM_ATTRIBUTES, box_source="proposal"
)
BOTTOM_UP = ("image_id", "image_w", "image_h", "num_boxes", "boxes", "features")
LXMERT = (
    *("img_id", "img_h", "img_w", "objects_id", "objects_conf", "attrs_id", "attrs_conf"),
    *("num_boxes", "boxes", "features"),
)


def make_row(image_id: str, *, num_boxes: int = 3) -> dict:
    """An image of 53 x 59 pixels with everything that any of the formats says; its id is the seed."""
    generator = np.random.default_rng(list(image_id.encode()))
    probs = generator.dirichlet(np.ones(NUM_CLASSES), num_boxes).astype(np.float32)
    corners = generator.uniform(0, 26, (num_boxes, 2, 2)) + np.array([[0, 0], [27, 31]])
    return {
        "image_id": image_id,
        "image_w": 53,
        "image_h": 59,
        "num_boxes": num_boxes,
        "boxes": corners.reshape(-1, 4).astype(np.float32),
        "features": generator.normal(size=(num_boxes, FEATURE_SIZE)).astype(np.float32),
        "cls_prob": probs,
        "objects_id": probs[:, 1:].argmax(axis=1),
        "objects_conf": probs[:, 1:].max(axis=1),
        "attrs_id": generator.integers(0, NUM_ATTRIBUTES, num_boxes),
        "attrs_conf": generator.uniform(size=num_boxes).astype(np.float32),
    }


def as_base64(row: dict) -> dict:
    return {
        name: base64.b64encode(value.tobytes()).decode() if isinstance(value, np.ndarray) else value
        for name, value in row.items()
    }


def write_tsv(path: Path, rows: list[dict], columns: tuple[str, ...]) -> Path:
    """As Python 2's csv module did: tabs, no header, both line ends."""
    names = {"img_id": "image_id", "img_h": "image_h", "img_w": "image_w"}
    lines = ["\t".join(str(as_base64(row)[names.get(name, name)]) for name in columns) for row in rows]
    path.write_text("".join(f"{line}\r\n" for line in lines), newline="")
    return path


def write_lmdb(path: Path, records: dict[str, bytes]) -> Path:
    """A folder, with the list of the keys among the records."""
    with lmdb.open(str(path), map_size=1 << 24) as environment, environment.begin(write=True) as transaction:
        for key, value in records.items():
            transaction.put(key.encode(), value)
        transaction.put(b"keys", pickle.dumps([key.encode() for key in records]))
    return path


def write_npz(folder: Path, row: dict) -> Path:
    folder.mkdir(exist_ok=True)
    info = {name: row[name] for name in ("image_id", "num_boxes", "objects_id", "objects_conf") if name in row}
    path = folder / f"{row['image_id']}.npz"
    size = {"image_w": row["image_w"], "image_h": row["image_h"], "num_bbox": row["num_boxes"]}
    np.savez_compressed(path, x=row["features"], bbox=row["boxes"], info=info, **size)
    return path


def write_npy(folder: Path, row: dict) -> Path:
    """As script/extract_features.py of vilbert-multi-task; its `objects` lacks the first region."""
    folder.mkdir(exist_ok=True)
    info = {
        "bbox": row["boxes"],
        "num_boxes": row["num_boxes"],
        "objects": row["objects_id"][1:],
        "image_width": row["image_w"],
        "image_height": row["image_h"],
        "cls_prob": row["cls_prob"],
        "image_id": row["image_id"],
        "features": row["features"],
    }
    path = folder / f"{row['image_id']}.npy"
    np.save(path, info, allow_pickle=True)
    return path


def write_h5(path: Path, rows: list[dict]) -> Path:
    """As features_extraction/detectron2_proposal_maxnms.py of VOLTA."""
    names = {"features": "features", "boxes": "boxes", "image_w": "img_w", "image_h": "img_h"}
    names |= {"objects_id": "obj_id", "objects_conf": "obj_conf", "attrs_id": "attr_id", "attrs_conf": "attr_conf"}
    with h5py.File(path, "w") as file:
        for row in rows:
            group = file.create_group(row["image_id"])
            for ours, theirs in names.items():
                group[theirs] = row[ours]
    return path
