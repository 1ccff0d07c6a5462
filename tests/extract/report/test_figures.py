import io
import tarfile

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from extract.regions.store import Regions, RegionStore, RegionStoreWriter
from extract.report.figures import sample_regions

# That a parser of formulas ends at, and what no font has: CJK, a null and other control characters.
CAPTIONS = ["he paid $5 {or $6}", r"$\frac{1}{", "港口的清晨", "a\0b\x1bc", "a\nb", "a" * 5_000]


@pytest.fixture
def draw(tmp_path):
    """A function from a caption to the picture of a pair that has it, as grey values."""
    (tmp_path / "val").mkdir()
    tar, store = tmp_path / "00000.tar", tmp_path / "00000.lmdb"
    jpeg = io.BytesIO()
    Image.new("RGB", (53, 43), "white").save(jpeg, "JPEG")
    with tarfile.open(tar, "w") as file:
        member = tarfile.TarInfo("val-0.jpg")
        member.size = len(jpeg.getvalue())
        file.addfile(member, io.BytesIO(jpeg.getvalue()))
    writer = RegionStoreWriter(
        store,
        classes=("background", "thing"),
        feature_size=3,
        num_classes_kept=None,
        box_source="proposal",
        detector={"sha256": "0"},
        selection={},
    )
    with writer:
        writer.put(
            "val-0",
            Regions(
                boxes=np.array([[2, 3, 29, 31]], np.float32),
                scores=np.array([0.9], np.float32),
                features=np.ones((1, 3), np.float16),
                class_probs=np.array([[0.1, 0.9]], np.float16),
                image_size=(53, 43),
                num_confident=1,
                is_short=False,
            ),
        )

    def picture(caption: str) -> np.ndarray:
        pairs = pa.table({"image_key": ["val-0"], "caption": [caption]})
        sample_regions(tmp_path / "regions.png", RegionStore([store]), pairs, [tar])
        return np.asarray(Image.open(tmp_path / "regions.png").convert("L"))

    return picture


def test_a_tar_that_is_cut_off_is_named(draw, tmp_path):
    (tar,) = tmp_path.glob("*.tar")
    tar.write_bytes(tar.read_bytes()[:700])
    with pytest.raises(ValueError, match=rf"{tar} is no whole tar: .*; remove it and start the same command again"):
        draw("a dog")


@pytest.mark.parametrize("caption", CAPTIONS)
def test_a_caption_is_drawn_whatever_stands_in_it(draw, caption):
    assert draw(caption).min() < 100


def test_a_caption_is_no_formula(draw):
    """Of which the dollar signs would be left out."""
    bare, framed = ((draw(caption) < 100).sum() for caption in ("abc", "$abc$"))
    assert framed > bare + 20
