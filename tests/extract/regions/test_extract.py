import io
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from places import ROOT

from extract.detection.detector import Proposals
from extract.regions.drawing import draw_regions
from extract.regions.extract import extract_regions
from extract.regions.inspect import describe_record, describe_store, image_of
from extract.regions.store import RegionStore
from extract.settings import SelectionSettings

# An extraction that a scheduler ends at its third image.
PREEMPTED = """
import os, signal, sys
from pathlib import Path
from test_extract import BrightPixels, extract
class Preempted(BrightPixels):
    def detect(self, images, sizes):
        if len(self.batch_shapes) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().detect(images, sizes)
extract(Path(sys.argv[1]), 1, Preempted())
"""
SELECTION = SelectionSettings(threshold=0.2, min_regions=3, max_regions=5, nms_iou=0.3)


class BrightPixels:
    """A detector by hand: proposals at fixed places, probabilities and features from the pixels there."""

    classes = ("background", "dark", "bright")
    feature_size = 7
    box_source = "proposal"
    attributes = ()
    identity = {"backend": "by hand"}  # noqa: RUF012
    device = torch.device("cpu")
    pads = False

    def __init__(self) -> None:
        self.batch_shapes: list[tuple[int, ...]] = []

    def sees(self, size):
        return min(size) > 2

    def canvas_size(self, size):
        return size

    def resize(self, pixels):
        return pixels

    def detect(self, images: torch.Tensor, sizes) -> list[Proposals]:
        assert [(images.shape[2], images.shape[3])] * len(images) == sizes
        self.batch_shapes.append(tuple(images.shape))
        return [self._in_one(image.float() / 255) for image in images]

    def _in_one(self, image: torch.Tensor) -> Proposals:
        corners = torch.tensor([[0, 0], [11, 0], [0, 11], [11, 11]]).float()
        boxes = torch.cat([corners, corners + 10], dim=1)
        if image.mean() == 0:
            boxes = boxes[:0]
        levels = [image[:, int(y) : int(y) + 10, int(x) : int(x) + 10].mean() for x, y in boxes[:, :2]]
        bright = torch.stack(levels)[:, None] if levels else torch.zeros(0, 1)
        probs = torch.cat([torch.full_like(bright, 0.1), 0.9 - bright * 0.9, bright * 0.9], dim=1)
        return Proposals(boxes=boxes, class_probs=probs, features=bright.expand(-1, 7))


def write_tar(path, sizes: list[tuple[int, int] | None]) -> None:
    with tarfile.open(path, "w") as tar:
        for index, size in enumerate(sizes):
            buffer = io.BytesIO()
            if size is not None:
                pixels = np.random.default_rng(index).integers(0, 256, (size[1], size[0], 3), np.uint8)
                Image.fromarray(pixels if index != 4 else np.zeros_like(pixels)).save(buffer, "JPEG")
            else:
                buffer.write(b"\xff\xd8 no image")
            member = tarfile.TarInfo(f"val-{index:08d}.jpg")
            member.size = buffer.tell()
            tar.addfile(member, io.BytesIO(buffer.getvalue()))


def extract(folder, batch_size: int, detector: BrightPixels) -> tuple[list[dict], RegionStore]:
    write_tar(folder / "0.tar", [(23, 29), (29, 23), (23, 29), None, (23, 29), (29, 23), (23, 29)])
    store = folder / f"{batch_size}.lmdb"
    rows = extract_regions(
        folder / "0.tar",
        store,
        detector=detector,
        batch_size=batch_size,
        selection=SELECTION,
        num_classes_kept=None,
        num_images=7,
    )
    return rows, RegionStore([store])


def test_every_image_is_a_row_and_what_fails_has_a_reason(tmp_path):
    rows, store = extract(tmp_path, 2, BrightPixels())
    assert [row["key"] for row in rows] == [f"val-{index:08d}" for index in range(7)]
    assert {row["key"]: row.get("reason") for row in rows if row.get("reason")} == {
        "val-00000003": "undecodable",
        "val-00000004": "no_proposals",
    }
    assert list(store) == [row["key"] for row in rows if not row.get("reason")]
    assert store["val-00000001"].image_size == (29, 23)


def test_an_image_that_the_model_would_see_no_pixel_of_has_a_reason_and_the_shard_goes_on(tmp_path):
    write_tar(tmp_path / "0.tar", [(23, 29), (300, 1), (1, 1), (23, 29)])
    rows = extract_regions(
        tmp_path / "0.tar",
        tmp_path / "s.lmdb",
        detector=BrightPixels(),
        batch_size=3,
        selection=SELECTION,
        num_classes_kept=None,
        num_images=4,
    )
    assert [(row.get("reason"), row.get("detail")) for row in rows] == [
        (None, None),
        ("too_thin", "300 x 1"),
        ("too_thin", "1 x 1"),
        (None, None),
    ]


def test_batches_hold_one_size_and_give_what_single_images_give(tmp_path):
    detector = BrightPixels()
    _, batched = extract(tmp_path, 3, detector)
    assert {shape[2:] for shape in detector.batch_shapes} == {(29, 23), (23, 29)}
    assert max(shape[0] for shape in detector.batch_shapes) > 1
    _, single = extract(tmp_path, 1, BrightPixels())
    for key in single:
        np.testing.assert_array_equal(batched[key].boxes, single[key].boxes)
        np.testing.assert_array_equal(batched[key].features, single[key].features)


def test_an_extraction_that_is_preempted_leaves_no_store_and_the_next_leaves_the_whole_one(tmp_path):
    path = os.pathsep.join(map(str, (ROOT, Path(__file__).parent, ROOT / "tests")))
    ended = subprocess.run([sys.executable, "-c", PREEMPTED, str(tmp_path)], env={**os.environ, "PYTHONPATH": path})
    assert ended.returncode == -signal.SIGTERM
    assert [file.suffix for file in tmp_path.iterdir() if file.name != "0.tar"] == [".partial"]
    rows, store = extract(tmp_path, 1, BrightPixels())
    (tmp_path / "whole").mkdir()
    whole_rows, whole = extract(tmp_path / "whole", 1, BrightPixels())
    assert rows == whole_rows
    assert store.manifest == whole.manifest
    assert not list(tmp_path.glob(".*.partial"))


def test_what_is_stored_can_be_printed_and_drawn(tmp_path):
    _, store = extract(tmp_path, 2, BrightPixels())
    text = "\n".join(describe_store(tmp_path / "2.lmdb", store))
    assert "5 images" in text
    assert "7 x float16" in text
    regions = store["val-00000000"]
    lines = describe_record("val-00000000", regions, classes=store.classes)
    assert len(lines) == 1 + len(regions)
    image = image_of("val-00000000", tmp_path / "0.tar")
    drawn = draw_regions(image, regions, classes=store.classes)
    assert min(drawn.size) >= 500
    plain = image.resize(drawn.size, Image.Resampling.LANCZOS)
    assert (np.asarray(drawn) != np.asarray(plain)).any()


def test_a_gpu_that_is_too_small_for_a_batch_ends_in_what_to_halve(tmp_path):
    class TooLarge(BrightPixels):
        def detect(self, images, sizes):
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(ValueError, match=r"too small for 3 images of 23 x 29; halve detector\.batch_size, which is 3$"):
        extract(tmp_path, 3, TooLarge())
    assert not (tmp_path / "3.lmdb").exists()
