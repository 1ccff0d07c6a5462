import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from vilbert.pretraining.retrieval_pictures import draw_retrieved, read_images

KEYS = ["val-0", "val-1", "val-2"]
COLOURS = {"val-0": (200, 0, 0), "val-1": (0, 200, 0), "val-2": (0, 0, 200)}


@pytest.fixture
def tar(tmp_path):
    path = tmp_path / "00000.tar"
    with tarfile.open(path, "w") as file:
        for key, colour in COLOURS.items():
            data = io.BytesIO()
            Image.new("RGB", (40, 30), colour).save(data, "JPEG", quality=95)
            for name in (f"{key}.jpg", f"{key}.txt"):
                member = tarfile.TarInfo(name)
                member.size = len(data.getvalue())
                file.addfile(member, io.BytesIO(data.getvalue()))
    return path


def test_images_are_read_by_their_key(tar):
    images = read_images([tar], {"val-1"})
    assert list(images) == ["val-1"]
    np.testing.assert_allclose(np.asarray(images["val-1"])[5, 5], COLOURS["val-1"], atol=6)


def test_an_image_that_is_in_no_tar_is_an_error(tar):
    with pytest.raises(ValueError, match="image 'val-9' is in none of 1 tars"):
        read_images([tar], {"val-9"})


def test_a_tar_that_is_cut_off_is_named(tar):
    tar.write_bytes(tar.read_bytes()[:700])
    with pytest.raises(ValueError, match=rf"{tar} is damaged \(.*\); remove it and start the same command again"):
        read_images([tar], {"val-9"})


def test_the_best_image_stands_first_and_the_captions_own_is_framed(tar, tmp_path):
    scores = np.array([[0.1, 0.9, 0.5], [0.0, 0.2, 0.1]])
    draw_retrieved(scores, ["a red thing", "a green thing"], KEYS, [tar], tmp_path / "out.png")
    picture = np.asarray(Image.open(tmp_path / "out.png").convert("RGB")).astype(int)
    height, width = picture.shape[:2]
    centres = [
        [picture[int(height * (row + 0.5) / 2), int(width * (column + 1.5) / 4)] for column in range(3)]
        for row in range(2)
    ]
    shown = [[int(np.argmax(colour)) for colour in row] for row in centres]
    assert shown == [[1, 2, 0], [1, 2, 0]]
    frame = np.abs(picture - [0x2E, 0x8B, 0x57]).sum(axis=-1) < 12
    halves = [np.flatnonzero(half.any(axis=0)) for half in (frame[: height // 2], frame[height // 2 :])]
    assert halves[0].min() > width * 0.7
    assert halves[1].max() < width * 0.55


@pytest.mark.parametrize("caption", ["he paid $5 {or $6}", "港口的清晨", "a\0b\x1bc", "a" * 5_000])
def test_a_caption_is_drawn_whatever_stands_in_it(tar, tmp_path, caption):
    draw_retrieved(np.array([[0.1, 0.9, 0.5]]), [caption], KEYS, [tar], tmp_path / "out.png")
    text = np.asarray(Image.open(tmp_path / "out.png").convert("L"))
    assert text[:, : text.shape[1] // 5].min() < 100


def test_a_caption_is_no_formula(tar, tmp_path):
    """Of which the dollar signs would be left out."""
    ink = []
    for caption in ("abc", "$abc$"):
        draw_retrieved(np.array([[0.1, 0.9, 0.5]]), [caption], KEYS, [tar], tmp_path / "out.png")
        ink.append((np.asarray(Image.open(tmp_path / "out.png").convert("L"))[:, :150] < 100).sum())
    assert ink[1] > ink[0] + 20
