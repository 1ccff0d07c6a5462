import io
import json
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image
from places import REAL

from extract.detection.boxes import box_objection
from extract.detection.detector import Proposals
from extract.regions.given_boxes import BoxFormat, extract_given, read_boxes, read_coco_boxes, read_vcr_boxes
from extract.regions.store import RegionStore

SAMPLE = REAL / "coco"


class BoxCorners:
    """A detector by hand: the features of a box are its corners."""

    classes = ("background", "thing", "other")
    feature_size = 4
    box_source = "proposal"
    attributes = ()
    identity = {"backend": "by hand"}  # noqa: RUF012
    device = torch.device("cpu")

    def __init__(self):
        self.batches: list[int] = []

    def resized_size(self, size):
        return size

    def resize(self, pixels):
        return pixels

    def detect(self, images, sizes):
        raise AssertionError("nothing is to be detected")

    def pool(self, images, boxes, sizes):
        self.batches.append(len(images))
        probs = torch.tensor([0.6, 0.1, 0.3])
        return [Proposals(boxes=one, class_probs=probs.expand(len(one), 3), features=one) for one in boxes]


@pytest.fixture
def tar(tmp_path):
    path = tmp_path / "images.tar"
    with tarfile.open(path, "w") as file:
        for key, size in {"a": (31, 37), "b": (31, 37), "c": (41, 43), "d": None}.items():
            data = io.BytesIO()
            if size:
                Image.new("RGB", size).save(data, "JPEG")
            else:
                data.write(b"\xff\xd8 no image")
            member = tarfile.TarInfo(f"{key}.jpg")
            member.size = data.tell()
            file.addfile(member, io.BytesIO(data.getvalue()))
    return path


def boxes(*corners) -> np.ndarray:
    return np.array(corners, np.float32).reshape(-1, 4)


def test_a_record_holds_the_boxes_in_the_order_of_the_file(tar, tmp_path):
    given = {"a": boxes([5, 5, 9, 9], [1, 2, 30, 36]), "b": boxes([0, 0, 3, 3]), "c": boxes([7, 7, 11, 13])}
    detector = BoxCorners()
    rows = extract_given(tar, tmp_path / "s.lmdb", given, detector=detector, batch_size=5)
    store = RegionStore([tmp_path / "s.lmdb"])
    assert list(store) == ["a", "b", "c"]
    np.testing.assert_array_equal(store["a"].boxes, given["a"])
    np.testing.assert_array_equal(store["a"].features, given["a"])
    assert store["a"].scores.tolist() == pytest.approx([0.3, 0.3])
    assert store.manifest.box_source == "given"
    assert sorted(detector.batches) == [1, 2]
    assert [(row["image_key"], row["reason"]) for row in rows] == [("d", "undecodable")]


def test_what_has_no_record_is_a_row_that_says_why(tar, tmp_path):
    given = {"a": boxes([5, 5, 9, 99]), "b": boxes(), "d": boxes([1, 1, 2, 2]), "e": boxes([1, 1, 2, 2])}
    rows = extract_given(tar, tmp_path / "s.lmdb", given, detector=BoxCorners(), batch_size=5)
    assert {row["image_key"]: row["reason"] for row in rows} == {
        "a": "bad_box",
        "b": "no_boxes",
        "c": "no_boxes",
        "d": "undecodable",
        "e": "no_image",
    }
    assert rows[0]["detail"] == "box 0: 5 5 9 99, the image is 31 x 37"


def test_what_is_no_box_keeps_its_image_out_and_its_number(tar, tmp_path):
    (tmp_path / "metadata").mkdir()
    for key, content in {"a": [[1, 2, 3, 4, 0.9], [1, 2, 3]], "b": [[1, 2, 3, 4], "box"], "c": [[1, 2, 3, 4]]}.items():
        (tmp_path / f"metadata/{key}.json").write_text(json.dumps({"boxes": content}))
    given = read_vcr_boxes(tmp_path / "metadata")
    rows = extract_given(tar, tmp_path / "s.lmdb", given, detector=BoxCorners(), batch_size=5)
    assert list(RegionStore([tmp_path / "s.lmdb"])) == ["c"]
    assert [(row["image_key"], row["reason"], row["detail"]) for row in rows[:2]] == [
        ("a", "bad_box", "box 1: nan nan nan nan, the image is 31 x 37"),
        ("b", "bad_box", "box 1: nan nan nan nan, the image is 31 x 37"),
    ]


def test_a_pixel_beyond_the_image_is_cut_off(tar, tmp_path):
    extract_given(tar, tmp_path / "s.lmdb", {"a": boxes([-1, 0, 31.5, 37])}, detector=BoxCorners(), batch_size=1)
    assert RegionStore([tmp_path / "s.lmdb"])["a"].boxes.tolist() == [[0, 0, 31, 37]]


def test_vcr_metadata_have_a_score_behind_each_box(tmp_path):
    (tmp_path / "movie").mkdir()
    (tmp_path / "movie/x@0.json").write_text(json.dumps({"boxes": [[1, 2, 3, 4, 0.9], [5, 6, 7, 8, 0.5]]}))
    assert read_vcr_boxes(tmp_path)["x@0"].tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]


def test_two_lists_of_boxes_of_one_image_are_an_error(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x@0.json").write_text('{"boxes": []}')
    with pytest.raises(ValueError, match=r"one/x@0\.json and .*two/x@0\.json have one name"):
        read_vcr_boxes(tmp_path)


@pytest.mark.parametrize(
    ("box_format", "content"),
    [
        ("coco", {"images": [{"id": 7, "file_name": "a.jpg"}], "annotations": [{"image_id": 7}]}),
        ("coco", [{"image_id": 7, "box": [1, 2, 10, 20]}]),
        ("detections", {"7": [1, 2, 10, 20]}),
        ("detections", [{"image_id": 7, "bbox": [1, 2, 10, 20]}]),
    ],
)
def test_a_file_of_another_format_is_named(tmp_path, box_format, content):
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(content))
    (tmp_path / "instances.json").write_text('{"images": [{"id": 7, "file_name": "COCO_7.jpg"}]}')
    with pytest.raises(ValueError, match=rf"boxes.json is no file of the format '{box_format}', (Key|Type)Error"):
        read_boxes(BoxFormat(box_format), path, tmp_path / "instances.json")


def test_real_boxes_are_in_their_real_images():
    if not SAMPLE.is_dir():
        pytest.skip(f"no real boxes at {SAMPLE}")
    found = read_boxes(BoxFormat.COCO, SAMPLE / "instances.json", None)
    assert sum(map(len, found.values())) == 308
    for key, of_image in found.items():
        with Image.open(SAMPLE / f"images/{key}.jpg") as image:
            assert box_objection(of_image, image.size) is None, key


def test_coco_boxes_are_x_y_width_height_by_the_name_of_their_image(tmp_path):
    content = {
        "images": [{"id": 7, "file_name": "COCO_7.jpg"}],
        "annotations": [{"image_id": 7, "bbox": [1, 2, 10, 20]}, {"image_id": 7, "bbox": [3, 4, 5, 6]}],
    }
    (tmp_path / "instances.json").write_text(json.dumps(content))
    assert read_coco_boxes(tmp_path / "instances.json")["COCO_7"].tolist() == [[1, 2, 11, 22], [3, 4, 8, 10]]
    content["annotations"].append({"image_id": 8, "bbox": [1, 2, 10, 20]})
    (tmp_path / "instances.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"has boxes of image 8, which instances\.json does not name"):
        read_coco_boxes(tmp_path / "instances.json")


def test_a_file_that_is_cut_off_is_named(tmp_path):
    (tmp_path / "instances.json").write_text('{"images": [')
    with pytest.raises(ValueError, match=r"instances.json is no whole JSON file"):
        read_coco_boxes(tmp_path / "instances.json")


def test_detections_are_named_by_the_instances(tmp_path):
    (tmp_path / "instances.json").write_text('{"images": [{"id": 7, "file_name": "COCO_7.jpg"}]}')
    (tmp_path / "dets.json").write_text(
        '[{"image_id": 7, "box": [1, 2, 10, 20]}, {"image_id": 7, "box": [3, 4, 5, 6]}]'
    )
    boxes = read_boxes(BoxFormat.DETECTIONS, tmp_path / "dets.json", tmp_path / "instances.json")
    assert boxes["COCO_7"].tolist() == [[1, 2, 11, 22], [3, 4, 8, 10]]
    with pytest.raises(ValueError, match=r"give the instances.json that names them"):
        read_boxes(BoxFormat.DETECTIONS, tmp_path / "dets.json", None)
    (tmp_path / "dets.json").write_text('[{"image_id": 8, "box": [1, 2, 10, 20]}]')
    with pytest.raises(ValueError, match="has boxes of image 8, which"):
        read_boxes(BoxFormat.DETECTIONS, tmp_path / "dets.json", tmp_path / "instances.json")


@pytest.mark.parametrize("content", ['{"segms": []}', '{"boxes": null}', "[]", '{"boxes": [[1, 2'])
def test_the_one_file_of_vcrs_metadata_that_has_no_boxes_is_named(tmp_path, content):
    """Of a hundred thousand, 'the folder is no metadata, KeyError boxes' finds none."""
    (tmp_path / "a.json").write_text('{"boxes": [[1, 2, 3, 4, 0.9]]}')
    (tmp_path / "b.json").write_text(content)
    with pytest.raises(ValueError, match=rf"^{tmp_path}/b\.json (holds no list 'boxes'|is no whole JSON file)"):
        read_boxes(BoxFormat.VCR, tmp_path, None)


def test_what_macos_packs_beside_each_file_and_a_byte_order_mark_are_passed_over(tmp_path):
    (tmp_path / "a.json").write_text('{"boxes": [[1, 2, 3, 4, 0.9]]}', encoding="utf-8-sig")
    (tmp_path / "._a.json").write_bytes(b"\0\5\x16\7")
    assert list(read_boxes(BoxFormat.VCR, tmp_path, None)) == ["a"]
