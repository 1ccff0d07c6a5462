import numpy as np
from PIL import Image

from vilbert.report.pictures import SIDE, frame, small, strip, with_boxes, with_names

GREY, RED, BLUE = (90, 90, 90), (0xE6, 0x19, 0x4B), (0x00, 0x72, 0xB2)


def places_of(image, colour):
    """x1 y1 x2 y2 of all pixels of a colour, the last ones within."""
    rows, columns = np.nonzero((np.asarray(image) == colour).all(axis=-1))
    return columns.min(), rows.min(), columns.max(), rows.max()


def test_a_large_picture_is_made_smaller_and_a_small_one_stays():
    assert small(Image.new("RGB", (1213, 607))).size == (SIDE, 240)
    assert small(Image.new("L", (31, 53))).size == (31, 53)


def test_boxes_are_framed_where_they_are_in_a_picture_of_another_size():
    """Of 960 pixels 480 are left: frames of 3 pixels and a light one stand around 50 to 100, and around both."""
    drawn = with_boxes(Image.new("RGB", (960, 640), GREY), pointed=(100, 200, 200, 300), meant=(600, 400, 700, 500))
    assert drawn.size == (480, 320)
    assert places_of(drawn, RED) == (46, 96, 104, 154)
    assert places_of(drawn, BLUE) == (292, 192, 358, 258)
    assert drawn.getpixel((75, 125)) == GREY


def test_both_frames_are_seen_of_one_box():
    drawn = with_boxes(Image.new("RGB", (480, 480), GREY), pointed=(100, 200, 200, 300), meant=(100, 200, 200, 300))
    assert places_of(drawn, BLUE) == (92, 192, 208, 308)
    assert places_of(drawn, RED) == (96, 196, 204, 304)


def test_a_frame_at_the_edge_is_drawn_within_the_picture():
    image = Image.new("RGB", (47, 41), GREY)
    frame(image, (-9, -5, 60, 50), "#e6194b")
    assert places_of(image, RED) == (0, 0, 46, 40)


def test_a_name_stands_above_its_box_and_in_it_where_there_is_no_room():
    for top, place in ((30, 45), (0, 0)):
        drawn = with_names(Image.new("RGB", (240, 240), GREY), [("Casey", (50, top, 110, 100))])
        assert [drawn.getpixel((x, 195)) for x in (105, 218)] == [GREY, BLUE]
        is_light = (np.asarray(drawn.crop((105, place + 3, 135, place + 13))) > 200).all(axis=-1)
        assert is_light.mean() > 0.4


def test_a_strip_shows_pictures_from_left_to_right_and_marks_some():
    colours = [(200, 0, 0), (0, 200, 0), (0, 0, 200), (200, 200, 0), (0, 200, 200)]
    drawn = strip([Image.new("RGB", (61, 61), colour) for colour in colours], marked=[3])
    side = drawn.height
    assert drawn.width == 5 * side + 4 * 4
    assert [drawn.getpixel((place * (side + 4) + side // 2, side // 2)) for place in range(5)] == colours
    assert places_of(drawn, BLUE) == (3 * (side + 4), 0, 3 * (side + 4) + side - 1, side - 1)
