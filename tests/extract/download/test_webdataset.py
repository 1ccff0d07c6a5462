import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from extract.download.webdataset import import_tar, main
from extract.tables import IMAGES, ROWS, read_rows

LIMITS = {"max_rows": 5, "max_pixels": 1_000_000, "max_side": None}


def jpeg(width: int = 31, height: int = 23) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


def write_tar(path, members: dict[str, bytes]):
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def test_a_published_tar_becomes_rows_with_keys_of_its_shard(tmp_path):
    metadata = json.dumps({"url": "http://photos.example/a", "caption": "a dog"}).encode()
    members = {"000000017.jpg": jpeg(), "000000017.json": metadata, "000000017.txt": b"a dog", "000000019.txt": b"lost"}
    source = write_tar(tmp_path / "source.tar", members)
    rows = import_tar(source, tmp_path / "out.tar", split="train", first_row=35, **LIMITS)
    assert [row["key"] for row in rows] == ["train-00000035", "train-00000036"]
    assert (rows[0]["url"], rows[0]["caption"], rows[0]["width"]) == ("http://photos.example/a", "a dog", 31)
    assert (rows[1]["error_message"], rows[1]["detail"]) == ("no_image", "000000019")
    with tarfile.open(tmp_path / "out.tar") as tar:
        assert tar.getnames() == ["train-00000035.jpg", "train-00000035.txt", "train-00000035.json"]


def test_more_samples_than_rows_are_an_error(tmp_path):
    source = write_tar(tmp_path / "source.tar", {f"{index}.txt": b"a cat" for index in range(6)})
    with pytest.raises(ValueError, match=r"more than 5 samples; raise source\.rows_per_shard"):
        import_tar(source, tmp_path / "out.tar", split="val", first_row=0, **LIMITS)
    assert not (tmp_path / "out.tar").exists()


def test_one_odd_sample_is_a_row_with_its_reason_and_the_others_are_in(tmp_path):
    odd = json.dumps({"url": ["http://photos.example/b"], "caption": "a cat"}).encode()
    members = {"a.jpg": jpeg(), "a.txt": b"a dog", "b.jpg": jpeg(), "b.json": odd, "c.jpg": jpeg(), "c.txt": b"a bird"}
    out = [tmp_path / f"out/{name}" for name in ("rows.parquet", "0.tar", "0.parquet", "0_stats.json")]
    main(write_tar(tmp_path / "source.tar", members), *out, split="val", first_row=0, max_rows=5, max_pixels=1_000_000)
    rows = read_rows(out[2], IMAGES)
    assert [row["status"] for row in rows] == ["success", "failed_to_download", "success"]
    assert (rows[1]["error_message"], rows[1]["detail"]) == ("malformed_sample", "url: list, expected text")
    assert [row["caption"] for row in read_rows(out[0], ROWS)] == ["a dog", None, "a bird"]


def test_a_damaged_tar_is_named_and_leaves_nothing(tmp_path):
    source = write_tar(tmp_path / "source.tar", {f"{index}.jpg": jpeg() for index in range(5)})
    with tarfile.open(source) as tar:
        place = tar.getmember("3.jpg").offset
    data = bytearray(source.read_bytes())
    data[place + 150] ^= 0xFF  # of the checksum
    source.write_bytes(data)
    with pytest.raises(ValueError, match=rf"source\.tar is no whole tar: the header at byte {place} is damaged"):
        import_tar(source, tmp_path / "out/0.tar", split="val", first_row=0, **LIMITS)
    assert list((tmp_path / "out").iterdir()) == []
