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
from extract.download.folder import pack_folder
from extract.regions.given_boxes import (
    BoxFormat,
    GivenBoxes,
    extract_given,
    read_boxes,
    read_coco_boxes,
    read_vcr_boxes,
)
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
    pads = False

    def __init__(self):
        self.batches: list[int] = []

    def sees(self, size):
        return min(size) > 2

    def canvas_size(self, size):
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


def boxes(*corners, image_size=None) -> GivenBoxes:
    return GivenBoxes(np.array(corners, np.float32).reshape(-1, 4), image_size)


def test_a_record_holds_the_boxes_in_the_order_of_the_file(tar, tmp_path):
    given = {"a": boxes([5, 5, 9, 9], [1, 2, 30, 36]), "b": boxes([0, 0, 3, 3]), "c": boxes([7, 7, 11, 13])}
    detector = BoxCorners()
    rows = extract_given(tar, tmp_path / "s.lmdb", given, detector=detector, batch_size=5)
    store = RegionStore([tmp_path / "s.lmdb"])
    assert list(store) == ["a", "b", "c"]
    np.testing.assert_array_equal(store["a"].boxes, given["a"].corners)
    np.testing.assert_array_equal(store["a"].features, given["a"].corners)
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


def test_an_image_that_the_model_would_see_no_pixel_of_has_no_record(tmp_path):
    (tmp_path / "images").mkdir()
    for key, size in {"a": (31, 37), "b": (300, 1)}.items():
        Image.new("RGB", size).save(tmp_path / f"images/{key}.png")
    pack_folder(tmp_path / "images", tmp_path / "images.tar")
    given = {"a": boxes([1, 2, 11, 13]), "b": boxes([0, 0, 30, 1])}
    rows = extract_given(tmp_path / "images.tar", tmp_path / "s.lmdb", given, detector=BoxCorners(), batch_size=5)
    assert [(row["image_key"], row["reason"], row["detail"]) for row in rows] == [("b", "too_thin", "300 x 1")]
    assert list(RegionStore([tmp_path / "s.lmdb"])) == ["a"]


def test_a_pixel_beyond_the_image_is_cut_off(tar, tmp_path):
    extract_given(tar, tmp_path / "s.lmdb", {"a": boxes([-1, 0, 31.5, 37])}, detector=BoxCorners(), batch_size=1)
    assert RegionStore([tmp_path / "s.lmdb"])["a"].boxes.tolist() == [[0, 0, 31, 37]]


def test_vcr_metadata_have_a_score_behind_each_box(tmp_path):
    (tmp_path / "movie").mkdir()
    (tmp_path / "movie/x@0.json").write_text(json.dumps({"boxes": [[1, 2, 3, 4, 0.9], [5, 6, 7, 8, 0.5]]}))
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked/movie").symlink_to("../movie")
    assert read_vcr_boxes(tmp_path / "linked")["x@0"].corners.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]


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
    assert sum(len(of_image.corners) for of_image in found.values()) == 308
    for key, of_image in found.items():
        with Image.open(SAMPLE / f"images/{key}.jpg") as image:
            assert of_image.image_size == image.size
            assert box_objection(of_image.corners, image.size) is None, key


def test_coco_boxes_are_x_y_width_height_by_the_name_of_their_image(tmp_path):
    content = {
        "images": [{"id": 7, "file_name": "COCO_7.jpg"}],
        "annotations": [{"image_id": 7, "bbox": [1, 2, 10, 20]}, {"image_id": 7, "bbox": [3, 4, 5, 6]}],
    }
    (tmp_path / "instances.json").write_text(json.dumps(content))
    assert read_coco_boxes(tmp_path / "instances.json")["COCO_7"].corners.tolist() == [[1, 2, 11, 22], [3, 4, 8, 10]]
    content["annotations"].append({"image_id": 8, "bbox": [1, 2, 10, 20]})
    (tmp_path / "instances.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"has boxes of image 8, which instances\.json does not name"):
        read_coco_boxes(tmp_path / "instances.json")


def test_two_images_of_one_name_cannot_share_their_boxes(tmp_path):
    content = {
        "images": [{"id": 7, "file_name": "one/a.jpg"}, {"id": 8, "file_name": "two/a.jpg"}],
        "annotations": [{"image_id": 7, "bbox": [1, 2, 10, 20]}, {"image_id": 8, "bbox": [3, 4, 5, 6]}],
    }
    (tmp_path / "instances.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="has boxes of two images of the name a, which cannot be told apart"):
        read_coco_boxes(tmp_path / "instances.json")


def test_boxes_of_a_picture_of_another_size_are_no_boxes_of_this_one(tar, tmp_path):
    """Of 31 x 37 and 41 x 43 pixels; the boxes would fit in both."""
    sizes = {"a": (31, 37), "b": (37, 31), "c": (82, 86)}
    given = {key: boxes([1, 2, 11, 13], image_size=size) for key, size in sizes.items()}
    rows = extract_given(tar, tmp_path / "s.lmdb", given, detector=BoxCorners(), batch_size=5)
    assert list(RegionStore([tmp_path / "s.lmdb"])) == ["a"]
    assert [(row["image_key"], row["reason"], row["detail"]) for row in rows[:2]] == [
        ("b", "other_size", "boxes of 37 x 31, the image is 31 x 37"),
        ("c", "other_size", "boxes of 82 x 86, the image is 41 x 43"),
    ]


def test_annotations_tell_the_size_of_the_picture_that_they_are_of(tmp_path):
    images = [{"id": 7, "file_name": "a.jpg", "width": 31, "height": 37}, {"id": 8, "file_name": "b.jpg"}]
    boxes = [{"image_id": number, "bbox": [1, 2, 10, 20]} for number in (7, 8)]
    (tmp_path / "instances.json").write_text(json.dumps({"images": images, "annotations": boxes}))
    found = read_coco_boxes(tmp_path / "instances.json")
    assert [found[key].image_size for key in "ab"] == [(31, 37), None]
    (tmp_path / "vcr").mkdir()
    (tmp_path / "vcr/c.json").write_text('{"boxes": [[1, 2, 3, 4, 0.9]], "width": 41, "height": 43}')
    assert read_vcr_boxes(tmp_path / "vcr")["c"].image_size == (41, 43)


@pytest.mark.parametrize(
    ("orientation", "size", "told", "reason"),
    [
        (6, (31, 37), (31, 37), "other_size"),  # the boxes are of the pixels as they are stored
        (6, (31, 37), (37, 31), None),  # the boxes are of the picture as one sees it
        (6, (31, 37), None, "turned"),
        (6, (37, 37), (37, 37), "turned"),  # nothing tells
        (3, (31, 37), (31, 37), "turned"),
        (2, (31, 37), (31, 37), "turned"),
        (1, (31, 37), (31, 37), None),
    ],
)
def test_boxes_of_a_picture_that_exif_turns_are_of_its_pixels_or_dropped(tmp_path, orientation, size, told, reason):
    exif = Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / "images").mkdir()
    Image.new("RGB", size).save(tmp_path / "images/a.jpg", exif=exif)
    pack_folder(tmp_path / "images", tmp_path / "images.tar")
    given = {"a": boxes([1, 2, 11, 13], image_size=told)}
    rows = extract_given(tmp_path / "images.tar", tmp_path / "s.lmdb", given, detector=BoxCorners(), batch_size=5)
    assert [row["reason"] for row in rows] == ([] if reason is None else [reason])
    assert list(RegionStore([tmp_path / "s.lmdb"])) == (["a"] if reason is None else [])


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
    assert boxes["COCO_7"].corners.tolist() == [[1, 2, 11, 22], [3, 4, 8, 10]]
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
