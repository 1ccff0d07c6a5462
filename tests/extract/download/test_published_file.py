import hashlib

import pytest

from extract.download.published_file import fetch_published_file, main


def test_a_file_address_is_copied_and_its_digest_checked(tmp_path):
    source, output = tmp_path / "list.tsv", tmp_path / "new" / "list.tsv"
    source.write_bytes(b"a red circle\thttp://x.example/1.jpg\n" * 7)
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    assert fetch_published_file(source.as_uri(), output, sha256=digest) == digest
    assert output.read_bytes() == source.read_bytes()


def test_another_digest_leaves_nothing_behind(tmp_path):
    source, output = tmp_path / "list.tsv", tmp_path / "out.tsv"
    source.write_bytes(b"changed")
    with pytest.raises(ValueError, match="expected 0000"):
        fetch_published_file(source.as_uri(), output, sha256="0000")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["list.tsv"]


def test_without_a_digest_to_expect_its_own_is_printed(tmp_path, capsys):
    source = tmp_path / "list.tsv"
    source.write_bytes(b"abc")
    main(source.as_uri(), tmp_path / "out.tsv")
    assert "sha256 ba7816bf" in (printed := capsys.readouterr().out)  # of "abc", FIPS 180-2
    assert "which was not checked" in printed


def test_a_missing_file_is_an_error_that_names_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.tsv gives no file"):
        fetch_published_file((tmp_path / "gone.tsv").as_uri(), tmp_path / "out", sha256=None)


def test_a_path_is_not_an_address(tmp_path):
    with pytest.raises(ValueError, match="file:///absolute/path"):
        fetch_published_file("captions.tsv", tmp_path / "out", sha256=None)
