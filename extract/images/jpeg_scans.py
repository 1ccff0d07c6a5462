"""How often a JPEG goes over its picture: told by its markers, before anything is decoded.

A progressive JPEG sends a picture in several scans, of each coefficient of a block some bits at a time. However few
bytes a scan has, decoding goes over all blocks for it, so that a megabyte can take minutes. Encoders write 4 to 20.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

MAX_SCANS = 100
UNSENT = 14  # above the lowest bit that a first scan may send
START_OF_SCAN, END_OF_IMAGE = 0xDA, 0xD9
_SCAN = bytes((0xFF, START_OF_SCAN))
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")  # but those that stand in coded data and have no length


class Scan(NamedTuple):
    """What one goes over the picture for."""

    components: bytes  # their numbers
    coefficients: range  # of a block, 0 to 63
    lowest_bit: int  # that it sends of them


def scan_objection(data: bytes) -> str | None:
    """Why the scans of a JPEG are more than a picture needs; null: they are not."""
    if data.count(_SCAN) < 2:
        return None
    sent: dict[tuple[int, int], int] = {}
    for number, scan in enumerate(scans(data), start=1):
        if number > MAX_SCANS:
            return f"more than {MAX_SCANS} scans"
        for place in ((component, one) for component in scan.components for one in scan.coefficients):
            if scan.lowest_bit >= sent.get(place, UNSENT):
                return f"scan {number} sends what was sent before"
            sent[place] = scan.lowest_bit
    return None


def scans(data: bytes) -> Iterator[Scan]:
    """Those up to the end of the first image, as far as the markers are whole."""
    place = 0
    while (found := _MARKER.search(data, place)) is not None:
        marker, start = data[found.end() - 1], found.end()
        if marker == END_OF_IMAGE:
            return
        length = int.from_bytes(data[start : start + 2], "big")
        if marker == START_OF_SCAN:
            segment = data[start + 2 : start + length]
            count = segment[0] if segment else 0
            if len(segment) < 2 * count + 4:
                return
            first, last, bits = segment[2 * count + 1 : 2 * count + 4]
            yield Scan(segment[1 : 2 * count : 2], range(first, min(last, 63) + 1), bits & 15)
        place = start if marker == 0xD8 else start + length
