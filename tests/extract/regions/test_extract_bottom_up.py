"""The kinds of images that the web holds, through the stage that extracts regions, with bottom-up attention."""

import io
import tarfile

import numpy as np
import pytest
import torch
from bottom_up_weights import FEATURE_SIZE, NUM_CLASSES, SETTINGS, load, save_weights, tiny_weights
from PIL import ExifTags, Image

from extract.detection.detector import Detector
from extract.regions.extract import extract_regions
from extract.regions.store import RegionStore
from extract.settings import SelectionSettings

SELECTION = SelectionSettings(threshold=0.2, min_regions=3, max_regions=7, nms_iou=0.3)
NOISE = Image.fromarray(np.random.default_rng(3).integers(0, 256, (97, 61, 3), np.uint8))
PROPOSALS = "proposal_generator.rpn_head.anchor_deltas.bias"


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def turned(kind: str) -> bytes:
    """It looks like NOISE after a quarter turn to the right."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    return encoded(NOISE, kind, exif=exif)


def extract(
    folder, images: dict[str, bytes], *, weights=None, num_threads=1, **changes
) -> tuple[dict[str, dict], RegionStore]:
    """Rows by key, and the store."""
    with tarfile.open(folder / "0.tar", "w") as tar:
        for key, data in sorted(images.items()):
            member = tarfile.TarInfo(f"{key}.jpg")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    rows = extract_regions(
        folder / "0.tar",
        folder / "0.lmdb",
        detector=load_from(folder, tiny_weights() if weights is None else weights, **changes),
        batch_size=SETTINGS.batch_size,
        selection=SELECTION,
        num_classes_kept=None,
        num_images=len(images),
        num_threads=num_threads,
    )
    assert [row["key"] for row in rows] == sorted(images)
    return {row["key"]: row for row in rows}, RegionStore([folder / "0.lmdb"])


def load_from(folder, weights: dict[str, np.ndarray], **changes) -> Detector:
    return load(save_weights(folder / "model.pkl", weights), **{"num_proposals": 23, **changes})


def test_each_region_has_its_likeliest_attribute(tmp_path):
    _, store = extract(tmp_path, {"noise": encoded(NOISE, "PNG")})
    assert len(store.attributes) == 7
    regions = store["noise"]
    (given,) = load_from(tmp_path, tiny_weights()).pool(
        torch.from_numpy(np.array(NOISE)).permute(2, 0, 1)[None], [torch.from_numpy(regions.boxes.copy())]
    )
    likeliest = given.attribute_probs.max(dim=1)
    assert len(regions) > 2
    np.testing.assert_array_equal(regions.attribute_ids, likeliest.indices)
    np.testing.assert_allclose(regions.attribute_probs, likeliest.values, atol=1e-3)


def test_every_kind_of_image_has_a_record_or_a_reason(tmp_path):
    frames = [Image.new("RGB", (61, 97), colour) for colour in ("red", "blue")]
    images = {
        "alpha": encoded(NOISE.convert("RGBA"), "PNG"),
        "animated": encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "cmyk": encoded(NOISE.convert("CMYK"), "JPEG", quality=95),
        "deep": encoded(Image.fromarray(np.full((97, 61), 40_000, np.uint16)), "PNG"),
        "empty": b"",
        "html": b"<html>no picture</html>",
        "large": encoded(NOISE.resize((20_000, 10)), "PNG"),
        "one": encoded(NOISE.resize((1, 1)), "PNG"),
        "palette": encoded(NOISE.quantize(7), "PNG"),
        "tall": encoded(NOISE.resize((10, 20_000)), "PNG"),
        "truncated": encoded(NOISE, "JPEG")[:700],
        "turned": turned("JPEG"),
    }
    rows, store = extract(tmp_path, images)
    assert {key for key, row in rows.items() if row.get("reason")} == {"empty", "html", "truncated"}
    assert {rows[key]["reason"] for key in ("empty", "html", "truncated")} == {"undecodable"}
    sizes = {"large": (20_000, 10), "tall": (10, 20_000), "one": (1, 1), "turned": (97, 61)}
    for key in set(images) - {"empty", "html", "truncated"}:
        regions = store[key]
        assert regions.image_size == sizes.get(key, (61, 97))
        assert rows[key]["num_regions"] == len(regions) >= SELECTION.min_regions
        assert regions.features.shape == (len(regions), FEATURE_SIZE)
        np.testing.assert_allclose(regions.class_probs.sum(axis=1, dtype=float), 1, atol=1e-2)
        assert (regions.boxes >= 0).all()
        assert (regions.boxes <= np.float32([*regions.image_size] * 2) * (1 + 1e-6)).all()
        assert (regions.boxes[:, 2:] > regions.boxes[:, :2]).all()


@pytest.mark.parametrize(
    ("strange", "plain"),
    [
        (turned("PNG"), NOISE.transpose(Image.Transpose.ROTATE_270)),
        (encoded(Image.fromarray(np.full((97, 61), 40_000, np.uint16)), "PNG"), Image.new("RGB", (61, 97), (155,) * 3)),
        (encoded(Image.new("RGBA", (61, 97), (255, 0, 0, 0)), "PNG"), Image.new("RGB", (61, 97), "white")),
        (encoded(NOISE.quantize(7), "PNG"), NOISE.quantize(7).convert("RGB")),
        (
            encoded(NOISE, "GIF", save_all=True, append_images=[Image.new("RGB", (61, 97))]),
            NOISE.quantize().convert("RGB"),
        ),
    ],
    ids=["turned", "16 bits", "see-through", "palette", "animated"],
)
def test_an_image_has_the_regions_of_what_one_sees(tmp_path, strange, plain):
    _, store = extract(tmp_path, {"strange": strange, "plain": encoded(plain, "PNG")})
    assert store["strange"].image_size == store["plain"].image_size == plain.size
    for name in ("boxes", "features", "class_probs"):
        np.testing.assert_array_equal(getattr(store["strange"], name), getattr(store["plain"], name))


@pytest.mark.parametrize("box_source", ["proposal", "regressed", "repooled"])
def test_a_detector_that_proposes_nothing_gives_a_reason_an_image(tmp_path, box_source):
    weights = tiny_weights()
    weights[PROPOSALS] = np.full_like(weights[PROPOSALS], 1e4)  # every box is moved out of the image
    images = {"a": encoded(NOISE, "PNG"), "b": encoded(NOISE, "PNG"), "c": turned("JPEG")}
    rows, store = extract(tmp_path, images, weights=weights, box_source=box_source)
    assert [(row["reason"], row["detail"]) for row in rows.values()] == [
        ("no_proposals", "61 x 97"),
        ("no_proposals", "61 x 97"),
        ("no_proposals", "97 x 61"),
    ]
    assert len(store) == 0
    assert len(store.classes) == NUM_CLASSES + 1


def test_threads_processes_and_order_change_nothing_of_the_store(tmp_path):
    """Sizes come mixed, so that the detector's order is not the tar's; two sizes are one after resizing."""
    sizes = [(61, 97), (97, 61), (122, 194), (80, 80)]
    images = {f"{index:02d}": encoded(NOISE.resize(sizes[index * 7 % 4]), "PNG") for index in range(14)}
    images["05"] = b"no image"
    stores = []
    for num_threads in (1, 3):
        rows, store = extract(tmp_path, images, num_threads=num_threads)
        stores.append((rows, store.manifest.sha256))
    assert stores[0] == stores[1]
    assert stores[0][0]["05"]["reason"] == "undecodable"


@pytest.fixture
def seen(monkeypatch):
    """A detector, and the shapes of the batches that it detects in."""

    def seen(folder, **attributes):
        detector = load_from(folder, tiny_weights())
        for name, value in attributes.items():
            monkeypatch.setattr(detector, name, value)
        shapes = []
        detect = detector.detect
        monkeypatch.setattr(
            detector, "detect", lambda pixels, sizes: shapes.append(tuple(pixels.shape)) or detect(pixels, sizes)
        )
        return detector, shapes

    return seen


def extract_mixed(folder, detector) -> RegionStore:
    """The store of images that are of two sizes after resizing, and of one canvas."""
    with tarfile.open(folder / "0.tar", "w") as tar:
        for index, size in enumerate([(61, 97), (97, 61), (122, 194), (63, 97), (244, 388)]):
            data = turned("JPEG") if index == 1 else encoded(NOISE.resize(size), "JPEG")
            member = tarfile.TarInfo(f"{index}.jpg")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    extract_regions(
        folder / "0.tar",
        folder / "0.lmdb",
        detector=detector,
        batch_size=3,
        selection=SELECTION,
        num_classes_kept=None,
        num_images=5,
    )
    return RegionStore([folder / "0.lmdb"])


def test_images_share_a_batch_if_they_are_of_one_size_after_resizing(tmp_path, seen):
    detector, shapes = seen(tmp_path)
    extract_mixed(tmp_path, detector)
    assert shapes == [(3, 3, 240, 151), (1, 3, 151, 240), (1, 3, 240, 156)]


def test_images_of_any_size_share_batches_where_the_detector_pads(tmp_path, seen):
    """As on a GPU: batches are of few shapes, as each other one costs it a start, and regions are the same."""
    alone, _ = seen(tmp_path)
    (tmp_path / "alone").mkdir()
    expected = extract_mixed(tmp_path / "alone", alone)
    detector, shapes = seen(tmp_path, pads=True)
    store = extract_mixed(tmp_path, detector)
    assert shapes == [(3, 3, 256, 160), (3, 3, 256, 160), (3, 3, 160, 256)]
    assert list(store) == list(expected) == ["0", "1", "2", "3", "4"]
    for key in store:
        np.testing.assert_allclose(store[key].boxes, expected[key].boxes, atol=1e-3)
        np.testing.assert_allclose(store[key].features, expected[key].features, rtol=2e-3, atol=1e-4)
        assert store[key].image_size == expected[key].image_size
