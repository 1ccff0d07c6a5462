import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from vilbert.report.pictures import read_images
from vilbert.report.retrieved import answers_of

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


def test_a_caption_is_answered_by_the_images_that_fit_best():
    scores = np.array([[0.1, 0.9, 0.5], [0.0, 0.2, 0.1], [0.3, 0.3, 0.3]])
    found = answers_of(scores, ["a", "b", "c"], KEYS)
    assert [one.image_keys for one in found[:2]] == [("val-1", "val-2", "val-0"), ("val-1", "val-2", "val-0")]
    assert [one.answer for one in found] == [f"its own image is number {rank} of 3" for rank in (3, 1, 3)]
    assert [one.is_right for one in found] == [False, True, False]
    assert [one.own for one in found] == [{"val-0"}, {"val-1"}, {"val-2"}]
