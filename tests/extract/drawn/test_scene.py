import math
from collections import Counter

import numpy as np
import pytest

from extract.drawn.picture import draw
from extract.drawn.scene import CLASSES, CROWDING, FILLS, SIZES, TEXTURES, Scene, Shape, make_scene, make_twin, relation


def scenes(count: int) -> list[Scene]:
    return [make_scene(f"3/{number}", image_size=128, min_objects=3, max_objects=9) for number in range(count)]


def test_a_seed_gives_one_scene_and_another_seed_another():
    assert make_scene("a", image_size=128, min_objects=3, max_objects=9) == make_scene(
        "a", image_size=128, min_objects=3, max_objects=9
    )
    assert len({scene.shapes for scene in scenes(53)}) == 53


def test_scenes_show_every_class_size_fill_and_texture():
    drawn = scenes(211)
    shapes = [shape for scene in drawn for shape in scene.shapes]
    assert {shape.name for shape in shapes} == set(CLASSES)
    assert {shape.size for shape in shapes} == set(SIZES)
    assert {shape.fill for shape in shapes} == set(FILLS)
    assert {scene.texture for scene in drawn} == set(TEXTURES)


def test_the_number_of_shapes_spreads_over_all_that_are_allowed():
    numbers = Counter(
        len(make_scene(f"7/{number}", image_size=144, min_objects=4, max_objects=18).shapes) for number in range(307)
    )
    assert set(numbers) == set(range(4, 19))
    for limit in (4, 6, 9, 13):  # of 15 numbers, the first few have this share to the power of 1 / CROWDING
        expected = ((limit - 3) / 15) ** (1 / CROWDING)
        assert sum(numbers[number] for number in range(4, limit + 1)) / 307 == pytest.approx(expected, abs=0.06)


def test_twins_show_the_same_values_at_other_places():
    num_exchanged = 0
    for number in range(101):
        scene = make_scene(f"9/{number}", image_size=144, min_objects=4, max_objects=18)
        twin = make_twin(scene, f"9/{number}/twin")
        for what in ("colour", "shape", "size", "fill", "side"):
            one, other = (Counter(getattr(shape, what) for shape in each.shapes) for each in (scene, twin))
            assert one == other
        assert scene.texture == twin.texture
        assert not {(shape.x, shape.y) for shape in scene.shapes} & {(shape.x, shape.y) for shape in twin.shapes}
        looks = [
            Counter((shape.colour, shape.shape, shape.size, shape.fill) for shape in each.shapes)
            for each in (scene, twin)
        ]
        num_changed = (looks[0] - looks[1]).total()
        assert num_changed in (0, 2)
        num_exchanged += num_changed == 2
    assert 0.5 * 101 < num_exchanged < 101


def test_shapes_lie_inside_the_image_and_hardly_overlap():
    for scene in scenes(59):
        covered = np.zeros((128, 128), dtype=int)
        for shape in scene.shapes:
            x1, y1, x2, y2 = shape.box
            assert 0 <= x1 < x2 <= 128
            assert 0 <= y1 < y2 <= 128
            covered[round(y1) : round(y2), round(x1) : round(x2)] += 1
        assert (covered > 1).sum() <= 0.12 * (covered > 0).sum()


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("name", ["circle", "square", "triangle"])
def test_boxes_are_tight_around_the_pixels_that_a_shape_changes(name, fill):
    shape = Shape(name, "red", fill, "large", x=61.3, y=53.8, side=43.0, tilt=0.2)
    empty = Scene("seed", 128, (150, 150, 150), "plain", ())
    changed = np.abs(
        np.asarray(draw(Scene("seed", 128, (150, 150, 150), "plain", (shape,))), dtype=int)
        - np.asarray(draw(empty), dtype=int)
    ).sum(axis=2)
    rows, columns = np.nonzero(changed > 40)
    tight = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert shape.box == pytest.approx(tight, abs=1.5)


def test_the_area_of_a_square_is_its_side_squared():
    assert Shape("square", "red", "solid", "small", x=20, y=20, side=13, tilt=0.1).area == pytest.approx(169)
    assert Shape("circle", "red", "solid", "small", x=20, y=20, side=13, tilt=0).area == pytest.approx(
        math.pi * 169 / 4, rel=0.01
    )


def test_relations_need_a_clear_direction():
    def at(x: float, y: float) -> Shape:
        return Shape("square", "red", "solid", "small", x=x, y=y, side=10, tilt=0)

    assert relation(at(20, 50), at(60, 55)) == "left of"
    assert relation(at(60, 50), at(20, 55)) == "right of"
    assert relation(at(20, 20), at(25, 60)) == "above"
    assert relation(at(20, 60), at(25, 20)) == "below"
    assert relation(at(20, 20), at(27, 22)) is None  # their boxes overlap
    assert relation(at(20, 20), at(60, 60)) is None  # as much beside as beyond


def test_more_shapes_than_fit_are_an_error():
    with pytest.raises(ValueError, match=r"do not fit.*max_objects"):
        make_scene("a", image_size=128, min_objects=61, max_objects=61)
