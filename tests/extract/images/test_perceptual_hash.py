import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from extract.drawn.picture import draw, jpeg_bytes
from extract.drawn.scene import make_scene
from extract.images.checks import decode_grey
from extract.images.perceptual_hash import hash_distance, perceptual_hash


def scene(number: int) -> Image.Image:
    return draw(make_scene(f"scene {number}", image_size=128, min_objects=3, max_objects=7))


def hash_of(picture: Image.Image, *, quality: int = 92) -> np.ndarray:
    return np.array([perceptual_hash(decode_grey(jpeg_bytes(picture, quality=quality))[1])], dtype=np.uint64)


@pytest.mark.parametrize(
    "change",
    [
        lambda picture: picture,
        lambda picture: picture.resize((113, 113), Image.Resampling.BICUBIC),
        lambda picture: picture.resize((151, 151), Image.Resampling.BICUBIC),
        lambda picture: ImageEnhance.Brightness(picture).enhance(1.1),
        lambda picture: ImageEnhance.Contrast(picture).enhance(0.9),
    ],
    ids=["re-encoded", "smaller", "larger", "brighter", "paler"],
)
def test_copies_of_a_picture_stay_near_it(change):
    distances = [
        int(hash_distance(hash_of(picture), hash_of(change(picture), quality=60))[0])
        for picture in map(scene, range(23))
    ]
    assert max(distances) <= 6
    assert sum(distance <= 4 for distance in distances) >= 22


def test_different_scenes_on_like_backgrounds_stay_apart():
    hashes = np.concatenate([hash_of(scene(number)) for number in range(151)])
    distances = hash_distance(hashes[:, None], hashes[None])[np.triu_indices(len(hashes), k=1)]
    assert distances.min() > 8
    assert abs(distances.mean() - 32) < 2


def test_half_of_the_bits_are_set_even_of_a_picture_that_is_not_square():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, size=(53, 97), dtype=np.uint8)
    assert perceptual_hash(Image.fromarray(pixels)).bit_count() == 32


def test_a_large_jpeg_read_at_a_fraction_of_its_size_hashes_as_the_small_one():
    small = scene(3)
    buffer = io.BytesIO()
    small.resize((1024, 1024), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
    size, grey = decode_grey(buffer.getvalue())
    assert size == (1024, 1024)
    assert grey.size == (128, 128)
    assert hash_distance(hash_of(small), np.array([perceptual_hash(grey)], dtype=np.uint64))[0] <= 4
