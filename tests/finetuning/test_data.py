"""Training data as people bring it: what is whole is read, what is not is counted and named."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from textloc.errors import TrainingError
from textloc.finetuning import data


def kept(place: Path | str) -> tuple[list[str], data.Report]:
    report = data.Report()
    captions = [sample.caption for sample, _ in data.samples(str(place), report)]
    json.dumps(report.described(), ensure_ascii=False).encode()  # what a file must hold
    return captions, report


def picture(kind: str = "PNG", mode: str = "RGB") -> bytes:
    stream = io.BytesIO()
    Image.new(mode, (32, 24)).save(stream, kind)
    return stream.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures 0.png to 3.png."""
    for number in range(4):
        (tmp_path / f"{number}.png").write_bytes(picture())
    return tmp_path


def table(folder: Path, content: str | bytes) -> tuple[list[str], data.Report]:
    raw = content.encode() if isinstance(content, str) else content
    (folder / "metadata.csv").write_bytes(raw)
    return kept(folder)


def lines(folder: Path, content: str | bytes) -> tuple[list[str], data.Report]:
    raw = content.encode() if isinstance(content, str) else content
    (folder / "metadata.jsonl").write_bytes(raw)
    return kept(folder)


# -- tables ----------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    "mark", ["\n", "\u2028", "\u2029", "\x0c", "\x0b", "\x1c", "\x85", '""', ","]
)
def test_no_sign_within_quotation_marks_cuts_a_row(folder: Path, mark: str, end: str) -> None:
    caption = f"a sign{mark}with two lines"
    captions, report = table(
        folder, end.join(["file_name,text", f'0.png,"{caption}"', "1.png,b", ""])
    )
    assert captions == [caption.replace('""', '"'), "b"]
    assert not report.skipped


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_every_usual_separator(folder: Path, separator: str) -> None:
    stream = io.StringIO()
    rows = csv.writer(stream, delimiter=separator)
    rows.writerows([["text", "file_name"], ["a; b, c\td|e", "0.png"], ["plain", "1.png"]])
    assert table(folder, stream.getvalue())[0] == ["a; b, c\td|e", "plain"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_marks_of_the_encoding_are_no_letters(folder: Path, encoding: str) -> None:
    assert table(folder, "file_name,text\n0.png,żółw\n".encode(encoding))[0] == ["żółw"]
    (folder / "metadata.csv").unlink()
    record = json.dumps({"file_name": "0.png", "text": "\ufeffżółw"}, ensure_ascii=False)
    assert lines(folder, f"{record}\n{record}".encode(encoding))[0] == ["żółw"] * 2
    assert lines(folder, f"\ufeff{record}\n\ufeff{record}")[0] == ["żółw"] * 2  # files joined


def test_a_caption_longer_than_the_csv_module_reads(folder: Path) -> None:
    before = csv.field_size_limit()
    long = "word " * 40_000 + "end"
    assert table(folder, f'file_name,text\n0.png,"{long}"\n1.png,b\n')[0] == [long, "b"]
    assert csv.field_size_limit() == before


def test_a_caption_with_commas_and_no_quotation_marks_is_not_cut(folder: Path) -> None:
    captions, report = table(folder, "file_name,text\n0.png,a sign, red\n1.png,b\n2.png\n")
    assert captions == ["b"]
    assert dict(report.skipped) == {
        "the row has more fields than the first line; put captions in quotation marks": 1,
        "the metadata has no text, caption, prompt": 1,
    }
    assert "line 2" in next(iter(report.examples.values()))


@pytest.mark.parametrize(
    ("content", "said"),
    [("a,b\n1,2\n", "names no column file_name; it names a, b"), ("", "it names nothing")],
)
def test_a_table_without_names_of_files(folder: Path, content: str, said: str) -> None:
    with pytest.raises(TrainingError, match=said):
        table(folder, content)


# -- names, captions -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["a\0b.png", "x" * 300 + ".png", "\ud800.png", "y/" * 3000 + "z.png"]
)
def test_names_that_no_file_has(folder: Path, name: str) -> None:
    record = json.dumps({"file_name": name, "text": "a"})
    good = json.dumps({"file_name": "0.png", "text": "good"})
    captions, report = lines(folder, f"{record}\n{good}\n")
    assert captions == ["good"]
    assert sum(report.skipped.values()) == 1
    assert all(len(example) < 250 for example in report.examples.values())
    (folder / "metadata.jsonl").unlink()
    if "\ud800" not in name:
        assert table(folder, f"file_name,text\n{name},a\n0.png,good\n")[0] == ["good"]


@pytest.mark.parametrize(
    ("record", "caption"),
    [
        ({"text": "", "caption": "filled"}, "filled"),
        ({"text": " \n", "caption": "", "prompt": "filled"}, "filled"),
        ({"text": None, "caption": "filled"}, "filled"),
        ({"text": 7, "caption": "filled"}, "filled"),
        ({"text": "first", "caption": "second"}, "first"),
        ({"text": "half \ud83d of a letter"}, "half  of a letter"),
    ],
)
def test_an_empty_caption_hides_no_other(folder: Path, record: Any, caption: str) -> None:
    assert lines(folder, json.dumps({"file_name": "0.png"} | record))[0] == [caption]


def test_empty_captions_alone_are_counted(folder: Path) -> None:
    captions, report = lines(folder, '{"file_name": "0.png", "text": "", "caption": " "}')
    assert captions == []
    assert dict(report.skipped) == {"without a caption": 1}


@pytest.mark.parametrize("line", ["[1]", "null", "7", '"x"', "[" * 100_000, "{", "\0"])
def test_lines_that_are_no_object(folder: Path, line: str) -> None:
    captions, report = lines(folder, f'{line}\n{{"file_name": "0.png", "text": "good"}}')
    assert captions == ["good"]
    assert dict(report.skipped) == {"the line of metadata is no JSON object": 1}


def test_what_was_decided_of_pictures_is_counted(folder: Path) -> None:
    (folder / "0.png").write_bytes(picture(mode="RGBA"))
    _, report = table(folder, "file_name,text\n0.png,a\n1.png,b\n")
    assert dict(report.noted) == {"its transparency is laid on white": 1}
    assert "1 kept: its transparency is laid on white (such as 0.png)" in report.lines()


# -- shards ----------------------------------------------------------------------------------


def shard(path: Path, *members: tuple[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            about = tarfile.TarInfo(name)
            about.size = len(content)
            tar.addfile(about, io.BytesIO(content))
    return path


def test_members_may_lie_anywhere(tmp_path: Path) -> None:
    png = picture()
    names = ("a.png", "b.png", "c.json", "b.txt", "a.txt", "c.png")
    content = {"png": png, "txt": b"words", "json": b'{"text": "", "caption": "of json"}'}
    place = shard(tmp_path / "0.tar", *((name, content[name[2:]]) for name in names))
    captions, report = kept(place)
    assert captions == ["words", "words", "of json"]
    assert not report.skipped


@pytest.mark.parametrize(
    "keys", [("0.25", "0.5"), ("img.v1", "img.v2"), ("a.b.c", "a.b.d"), ("x/0.1", "x/0.2")]
)
def test_keys_with_dots(tmp_path: Path, keys: tuple[str, str]) -> None:
    members = [
        (f"{key}.{ending}", content)
        for key in keys
        for ending, content in (("png", picture()), ("txt", key.encode()))
    ]
    captions, report = kept(shard(tmp_path / "0.tar", *members))
    assert captions == list(keys)
    assert not report.skipped


def test_longer_endings_beside_a_picture_are_not_samples(tmp_path: Path) -> None:
    members = (("a.png", picture()), ("a.seg.png", picture()), ("a.txt", b"one"))
    captions, report = kept(shard(tmp_path / "0.tar", *members))
    assert (captions, dict(report.skipped)) == (["one"], {})


@pytest.mark.parametrize("content", [b"[1]", b"null", b"7", b"{", b"\xff\xfe", b"[" * 100_000])
def test_json_that_is_no_object(tmp_path: Path, content: bytes) -> None:
    png = picture()
    members = [("a.png", png), ("a.json", content), ("b.png", png), ("b.txt", b"good")]
    captions, report = kept(shard(tmp_path / "0.tar", *members))
    assert captions == ["good"]
    assert dict(report.skipped) == {"the caption cannot be read": 1}


def test_captions_of_shards(tmp_path: Path) -> None:
    png = picture()
    members = (
        *(("a.png", png), ("a.txt", b"\xef\xbb\xbfone")),
        *(("b.png", png), ("b.txt", b" \n"), ("b.json", b'{"caption": "two"}')),
        *(("c.PNG", png), ("c.TXT", "three".encode("utf-16"))),
        *(("d.png", png), ("d.txt", b"four"), ("d.txt", b"five")),
        *(("._e.png", png), ("__meta__.json", b"{}"), ("README", b"")),
        *(("f.jfif", picture("JPEG")), ("f.txt", b"six")),
    )
    captions, report = kept(shard(tmp_path / "0.tar", *members))
    assert captions == ["one", "two", "three", "six"]
    assert dict(report.skipped) == {"two members of the shard have one name": 1}


@pytest.mark.parametrize("cut", [0, 100, 600, 1100, 2600, 5000])
def test_a_shard_that_ends_early(tmp_path: Path, cut: int) -> None:
    members = [(f"{n}.{e}", c) for n in range(3) for e, c in (("txt", b"x"), ("png", picture()))]
    whole = shard(tmp_path / "0.tar", *members).read_bytes()
    (tmp_path / "0.tar").write_bytes(whole[:cut])
    captions, report = kept(tmp_path)
    assert len(captions) == cut // 2048  # two members of a head and a block each
    assert report.skipped["the shard is damaged"] == 1


def test_a_damaged_member_within_is_told(tmp_path: Path) -> None:
    members = [(f"{n}.{e}", c) for n in range(3) for e, c in (("txt", b"x"), ("png", picture()))]
    whole = bytearray(shard(tmp_path / "0.tar", *members).read_bytes())
    whole[2048:2148] = b"\x01" * 100  # the head of the third member
    (tmp_path / "0.tar").write_bytes(whole)
    captions, report = kept(tmp_path)
    assert captions == ["x"]
    assert report.skipped["the shard is damaged"] == 1


def test_shards_by_a_star_and_far_away(tmp_path: Path) -> None:
    for number in range(2):
        shard(tmp_path / f"{number}.tar", ("a.png", picture()), ("a.txt", b"one"))
    assert kept(f"{tmp_path}/*.tar")[0] == ["one", "one"]
    with pytest.raises(TrainingError, match="there is no shard"):
        kept(f"{tmp_path}/no*.tar")
    for place in ("https://example.org/{000..009}.tar", "pipe:cat x.tar"):
        with pytest.raises(TrainingError, match="is not on this machine; download"):
            kept(place)


# -- which reader ----------------------------------------------------------------------------


def test_no_reader_wins_silently(folder: Path) -> None:
    (folder / "metadata.jsonl").write_text('{"file_name": "0.png", "text": "of lines"}')
    shard(folder / "0.tar", ("a.png", picture()), ("a.txt", b"of shards"))
    with pytest.raises(TrainingError, match=r"several ways \(shards, metadata\); name"):
        kept(folder)
    assert kept(folder / "metadata.jsonl")[0] == ["of lines"]
    assert kept(f"{folder}/*.tar")[0] == ["of shards"]
    (folder / "0.tar").unlink()
    (folder / "metadata.csv").write_text("file_name,text\n1.png,of the table\n")
    with pytest.raises(TrainingError, match=r"both metadata\.jsonl and metadata\.csv; name"):
        kept(folder)
    assert kept(folder / "metadata.csv")[0] == ["of the table"]


@pytest.mark.parametrize("place", ["a\0b", "x" * 5000, "", "/nonesuch"])
def test_places_that_are_none(place: str) -> None:
    with pytest.raises(TrainingError, match="cannot read data from"):
        kept(place)


def test_mario_with_marks_and_damaged_words(tmp_path: Path) -> None:
    for name, words in (("a", b"KEEP\xe2\x80\xa8CALM 1,2 0.9"), ("b", b"\xff\xff\xff")):
        place = tmp_path / name
        place.mkdir()
        (place / "image.png").write_bytes(picture())
        (place / "caption.txt").write_bytes(b"\xef\xbb\xbfa poster")
        (place / "ocr.txt").write_bytes(words)
    captions, report = kept(tmp_path)
    assert captions == ["a poster"]
    assert dict(report.skipped) == {"the ocr.txt is no text in UTF-8": 1}
