"""The store: identity, damage, concurrency, and what is never read from the disk."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.documents import Document, Images, localize_document
from textloc.errors import StoreError
from textloc.results import export, opening, store

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=12,
)

# The first schema, frozen: a change of canonical form, ID or digest breaks every stored result.
FIRST: Document = {
    "schema": "textloc.localize/1",
    "id": "faf7afa4054b0eba",
    "complete": True,
    "request": {
        "job": "localize",
        "checkpoint": {"name": "tiny-sdxl", "revision": None, "digest": "sha256:00"},
        "pairs": [{"source_text": "STOP", "target_text": "GRÜN"}],
        "seeds": [0],
        "guidance": 3.0,
        "share": 0.1,
        "layers": [0],
    },
    "checkpoint": {"name": "tiny-sdxl"},
    "environment": {"textloc": "0.1.0"},
    "layers": [
        {
            "index": 0,
            "name": "mid_block.attentions.0",
            "read": [{"pair": 0, "seed": 0, "text": "STOP", "image": "p0-s0-layer00"}],
            "scores": {"ocr_f1_target": 1e-07},
        }
    ],
    "references": {},
    "sets": [],
    "controls": [],
    "selected": [],
}
FIRST_DIGEST = "285b3b9227b1d9fd668da6e3df955695d31ba9dbfc363d9201a063de8881188e"


@pytest.fixture(scope="module")
def example() -> tuple[Document, Images]:
    return localize_document()


@pytest.fixture(scope="module")
def original(example: tuple[Document, Images], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store.save(*example, tmp_path_factory.mktemp("results"))


@pytest.fixture
def saved(original: Path, tmp_path: Path) -> Path:
    """A stored result of one's own to damage."""
    return Path(shutil.copytree(original, tmp_path / original.name))


def rewrite(folder: Path, change: Any) -> None:
    document = json.loads((folder / "result.json").read_text("utf-8"))
    change(document)
    (folder / "result.json").write_text(json.dumps(document), "utf-8")


# ---------------------------------------------------------------------------- identity


@given(JSON)
def test_canonical_survives_a_round_trip(value: object) -> None:
    text = store.canonical(value)
    assert store.canonical(json.loads(text)) == text


@given(st.dictionaries(st.text("abcé", max_size=3), JSON, min_size=1, max_size=5))
def test_order_of_keys_does_not_count(request_: dict[str, object]) -> None:
    backwards = dict(reversed(request_.items()))
    assert store.request_id(request_) == store.request_id(backwards)
    assert store.check_id(store.request_id(request_))
    assert store.request_id(request_) != store.request_id({**request_, "more": 1})


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), {1: 2}, {"a": [object()]}, "\ud800", b"", {1, 2}],
)
def test_what_json_cannot_hold_is_refused(value: object) -> None:
    with pytest.raises(StoreError, match="Cannot store"):
        store.canonical(value)


def test_first_schema_is_frozen(tmp_path: Path) -> None:
    images = {"p0-s0-layer00": Image.new("RGB", (2, 1), (1, 2, 3))}
    assert store.request_id(FIRST["request"]) == FIRST["id"]
    assert store.digest(FIRST, images) == FIRST_DIGEST
    stored = store.load(store.save(FIRST, images, tmp_path).name, tmp_path)
    assert stored.document == FIRST | {"digest": FIRST_DIGEST}


def test_digest_sees_pixels_and_shape() -> None:
    flat = store.digest({}, {"p0-s0-all": Image.new("RGB", (4, 1))})
    assert flat != store.digest({}, {"p0-s0-all": Image.new("RGB", (2, 2))})
    assert flat != store.digest({}, {"p0-s0-all": Image.new("RGB", (4, 1), (0, 0, 1))})
    assert flat == store.digest({"digest": "x"}, {"p0-s0-all": Image.new("RGBA", (4, 1))})


# ---------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    "name",
    [
        *("", "..", "../../etc/passwd", "0123456789abcde", "0123456789abcdefa", "0123456789ABCDEF"),
        *("0123456789abcdef\n", "0123456789abcde/", "٠" * 16, "%2e%2e%2f", None, 7, ["0" * 16]),
    ],
)
def test_bad_ids_never_touch_the_disk(name: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def touched(*_: object, **__: object) -> None:
        raise AssertionError("the disk was touched")

    monkeypatch.setattr(store, "_places", touched)
    monkeypatch.setattr(Path, "is_dir", touched)
    with pytest.raises(StoreError, match="not a result ID"):
        store.load(name)
    with pytest.raises(StoreError, match="not a result ID"):
        export.permalink("https://example.org/", name)


@pytest.mark.parametrize(
    "key",
    [
        *("../result", "p0-s0-..", "p0-s0-a/b", "p0-s0-a\\b", "p0-s0-", "p0-s0-A", "p٣-s0-all"),
        *("p0-s0-all\n", "p0-s0-all.png", "/etc/passwd", "p0-s0-" + "a" * 300, "con", None),
    ],
)
def test_bad_image_keys_are_refused(key: Any, saved: Path, example: Any) -> None:
    stored = store.load(saved.name, saved.parent)
    with pytest.raises(StoreError, match="not an image key"):
        stored.image_path(key)
    document, images = example
    with pytest.raises(StoreError, match="not an image key"):
        store.save(document, {**images, key: images["p0-s0-all"]}, saved.parent)


@given(st.text(max_size=40))
def test_accepted_names_are_plain_file_names(text: str) -> None:
    for check in (store.check_id, store.check_image_key):
        try:
            name = check(text)
        except StoreError:
            continue
        assert Path(name).name == name
        assert name.isascii()
        assert "." not in name


@pytest.mark.parametrize("label", ["source", "target", "all", "layer09", "set-7_8_9", "layer100"])
def test_image_keys_of_the_schema(label: str) -> None:
    assert store.check_image_key(f"p12-s4294967296-{label}")
    assert store.check_image_key("p0-s0-set-" + "_".join(map(str, range(70))))


# ---------------------------------------------------------------------------- save and load


def test_round_trip(example: tuple[Document, Images], saved: Path) -> None:
    document, images = example
    stored = store.load(document["id"], saved.parent)
    assert stored.folder == saved == saved.parent / document["id"]
    assert {**stored.document, "digest": None} == {**document, "digest": None}
    assert "digest" not in document
    for key, image in images.items():
        assert stored.image(key).tobytes() == image.convert("RGB").tobytes()
    with pytest.raises(StoreError, match="has no image"):
        stored.image("p0-s9-all")
    assert [entry.name for entry in saved.parent.iterdir()] == [saved.name]


@pytest.fixture
def packed(example: tuple[Document, Images], tmp_path: Path) -> Path:
    """The same result, as many ship."""
    return store.save(*example, tmp_path / "packed", packed=True)


def test_a_packed_result_is_nearly_the_same(
    example: tuple[Document, Images], saved: Path, packed: Path, tmp_path: Path
) -> None:
    images = example[1]
    assert packed.name == saved.name  # the same question
    stored = store.load(packed.name, packed.parent)
    assert stored.image_keys() == store.load(saved.name, saved.parent).image_keys()
    assert sorted(stored.image_keys()) == sorted(images)
    assert all(path.suffix == ".webp" for path in stored.files()[1:])
    for key, image in images.items():
        off = np.abs(np.asarray(stored.image(key), int) - np.asarray(image.convert("RGB"), int))
        assert off.mean() < 4  # of 255
    again = store.save(stored.document, {k: stored.image(k) for k in images}, tmp_path / "again")
    assert store.load(again.name, again.parent).document["digest"] == stored.document["digest"]
    archive = export.export_zip(packed.name, tmp_path / "packed.zip", packed.parent)
    opened = opening.open_result(archive)
    assert opened.document == stored.document
    assert dict(opened.images).keys() == images.keys()
    twin = packed / "images" / "p0-s0-all.png"
    images["p0-s0-all"].save(twin)
    with pytest.raises(StoreError, match="p0-s0-all' is there twice"):
        store.load(packed.name, packed.parent)


def test_saving_again_keeps_the_good_result(example: tuple[Document, Images], saved: Path) -> None:
    before = (saved / "result.json").stat()
    other = {**example[0], "timing": {"total_s": 99.0}}
    assert store.save(other, example[1], saved.parent) == saved
    after = (saved / "result.json").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


@pytest.mark.parametrize("kind", ["broken", "empty", "file"])
def test_saving_replaces_a_damaged_result(
    kind: str, example: tuple[Document, Images], tmp_path: Path
) -> None:
    folder = tmp_path / example[0]["id"]
    if kind == "file":
        folder.write_text("not a folder")
    else:
        folder.mkdir()
        if kind == "broken":
            (folder / "result.json").write_text('{"schema": "textl')
    store.save(*example, tmp_path)
    assert store.load(folder.name, tmp_path).document["selected"] == [7, 8, 9]
    assert [entry.name for entry in tmp_path.iterdir()] == [folder.name]


@pytest.mark.parametrize("damaged", [False, True])
def test_concurrent_saves_do_not_mix(damaged: bool, tmp_path: Path) -> None:
    document, images = localize_document(3, seeds=(0,), works=False)
    if damaged:
        (tmp_path / document["id"]).mkdir()
        (tmp_path / document["id"] / "result.json").write_text("{")
    jobs = 8
    barrier = Barrier(jobs)

    def job(number: int) -> None:
        own = {key: Image.new("RGB", (4, 4), (number, 0, 0)) for key in images}
        barrier.wait()
        store.save({**document, "timing": {"total_s": float(number)}}, own, tmp_path)

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(job, range(jobs)))
    stored = store.load(document["id"], tmp_path)
    winner = int(stored.document["timing"]["total_s"])
    assert {stored.image(key).getpixel((0, 0)) for key in images} == {(winner, 0, 0)}
    assert [entry.name for entry in tmp_path.iterdir()] == [document["id"]]


def test_a_full_disk_leaves_nothing_behind(
    example: tuple[Document, Images], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter(range(100))

    def full(_: int) -> None:
        if next(calls) == 5:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=r"No space left.*TEXTLOC_RESULTS"):
        store.save(*example, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_save_is_never_listed(saved: Path) -> None:
    saved.rename(saved.with_name(f".saving-{saved.name}-0011223344556677"))
    assert store.listing(saved.parent) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"complete": False}, "partial"),
        ({"id": "0" * 16}, "changed after the run"),
        ({"schema": "textloc.localize/2"}, "newer textloc"),
        ({"schema": "textloc.dream/1"}, "unknown here"),
        ({"schema": None}, "unknown here"),
        ({"layers": None}, "no 'layers'"),
        ({"floor": float("nan")}, "document.floor is nan"),
    ],
)
def test_bad_documents_are_not_saved(
    change: Document, message: str, example: tuple[Document, Images], tmp_path: Path
) -> None:
    with pytest.raises(StoreError, match=message):
        store.save({**example[0], **change}, example[1], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_every_named_image_must_be_given(example: tuple[Document, Images], tmp_path: Path) -> None:
    images = {key: image for key, image in example[1].items() if key != "p0-s1-all"}
    with pytest.raises(StoreError, match="p0-s1-all"):
        store.save(example[0], images, tmp_path)


# ---------------------------------------------------------------------------- damage


def _set(key: str, value: object) -> Any:
    return lambda document: document.__setitem__(key, value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("selected", [1]), "digest"),
        (_set("digest", "0" * 64), "digest"),
        (lambda document: document.pop("digest"), "digest"),
        (lambda document: document["request"].update(steps=21), "changed after the run"),
        (_set("schema", "textloc.localize/9"), "Update textloc"),
        (_set("schema", "other/1"), "unknown here"),
        (_set("request", []), "no 'request'"),
    ],
)
def test_changed_documents_are_damaged(change: Any, message: str, saved: Path) -> None:
    rewrite(saved, change)
    with pytest.raises(StoreError, match=message):
        store.load(saved.name, saved.parent)


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"a": NaN}', b"[" * 100_000, b'{"schema": 1}'],
)
def test_damaged_json_is_reported(text: bytes, saved: Path) -> None:
    (saved / "result.json").write_bytes(text)
    with pytest.raises(StoreError):
        store.load(saved.name, saved.parent)
    (summary,) = store.listing(saved.parent)
    assert summary.damaged
    assert summary.id == saved.name


@pytest.mark.parametrize("ending", store.ENDINGS)
def test_a_flipped_byte_never_changes_a_picture_unseen(
    saved: Path, packed: Path, ending: str
) -> None:
    saved = packed if ending == ".webp" else saved
    file = saved / "images" / f"p0-s0-all{ending}"
    good = file.read_bytes()
    pixels = store.load(saved.name, saved.parent).image("p0-s0-all").tobytes()
    refused = 0
    for place in range(len(good)):
        file.write_bytes(good[:place] + bytes([good[place] ^ 0x10]) + good[place + 1 :])
        try:
            stored = store.load(saved.name, saved.parent)
        except StoreError:
            refused += 1
        else:
            assert stored.image("p0-s0-all").tobytes() == pixels
    assert refused > len(good) / 2
    file.write_bytes(good)
    assert store.load(saved.name, saved.parent)


def test_missing_extra_and_swapped_images(saved: Path) -> None:
    images = saved / "images"
    (images / "p0-s0-all.png").rename(images / "p0-s7-all.png")
    with pytest.raises(StoreError, match=r"p0-s0-all.* is missing"):
        store.load(saved.name, saved.parent)
    (images / "p0-s0-all.png").write_bytes((images / "p0-s7-all.png").read_bytes())
    with pytest.raises(StoreError, match="digest"):
        store.load(saved.name, saved.parent)
    (images / "p0-s7-all.png").rename(images / "Not a key.png")
    with pytest.raises(StoreError, match="not an image key"):
        store.load(saved.name, saved.parent)
    (images / "Not a key.png").unlink()
    assert store.load(saved.name, saved.parent)


def test_a_result_under_another_id_is_damaged(saved: Path) -> None:
    moved = saved.rename(saved.with_name("0123456789abcdef"))
    with pytest.raises(StoreError, match=f"holds the result {saved.name}"):
        store.load(moved.name, moved.parent)
    with pytest.raises(StoreError, match="no stored result"):
        store.load(saved.name, saved.parent)


# ---------------------------------------------------------------------------- versions


def test_an_old_schema_is_verified_then_migrated(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = store.load(saved.name, saved.parent).document

    def first(document: Document) -> Document:
        return {**document, "schema": "textloc.localize/2", "renamed": document["selected"]}

    def second(document: Document) -> Document:
        return {**document, "schema": "textloc.localize/3", "count": len(document["renamed"])}

    monkeypatch.setitem(store.SCHEMAS, "textloc.localize", 3)
    with pytest.raises(StoreError, match="no longer read"):
        store.load(saved.name, saved.parent)
    monkeypatch.setitem(store.MIGRATIONS, "textloc.localize/1", first)
    monkeypatch.setitem(store.MIGRATIONS, "textloc.localize/2", second)
    document = store.load(saved.name, saved.parent).document
    assert (document["schema"], document["count"]) == ("textloc.localize/3", 3)
    assert document["id"] == before["id"]
    rewrite(saved, _set("selected", []))
    with pytest.raises(StoreError, match="digest"):
        store.load(saved.name, saved.parent)


def test_every_schema_ever_written_can_be_read() -> None:
    for kind, newest in store.SCHEMAS.items():
        for version in range(1, newest):
            assert f"{kind}/{version}" in store.MIGRATIONS


# ---------------------------------------------------------------------------- lists


@pytest.fixture
def several(tmp_path: Path) -> tuple[Path, list[str]]:
    """Three results, the last saved the newest."""
    ids = []
    for place, words in enumerate([("STOP", "LOVE"), ("EXIT", "OPEN"), ("CAT", "DOG")]):
        folder = store.save(
            *localize_document(3, words=[words, ("A", "B")][: place + 1], seeds=(0,), works=False),
            tmp_path,
        )
        os.utime(folder / "result.json", (1000 + place, 1000 + place))
        ids.append(folder.name)
    return tmp_path, ids


def test_listing_is_newest_first_and_never_fatal(several: tuple[Path, list[str]]) -> None:
    root, ids = several
    (root / "0123456789abcdef").mkdir()
    os.utime(root / "0123456789abcdef", (5, 5))
    (root / "index.json").write_text("{}")
    (root / "notes").mkdir()
    (root / ".git").mkdir()
    summaries = store.listing(root)
    assert [summary.id for summary in summaries] == [*reversed(ids), "0123456789abcdef"]
    assert [summary.created for summary in summaries] == [1002.0, 1001.0, 1000.0, 5.0]
    assert summaries[0].title == "CAT → DOG and 1 more"
    assert summaries[2].title == "STOP → LOVE"
    assert summaries[0].checkpoint == "example-3"
    assert [bool(summary.damaged) for summary in summaries] == [False, False, False, True]
    assert "result.json is missing" in str(summaries[3].damaged)
    assert store.listing(root / "nowhere") == []


def test_default_is_the_indexed_one_else_the_newest(several: tuple[Path, list[str]]) -> None:
    root, ids = several
    assert store.default_id(root) == ids[2]
    named = "textloc.localize"
    good, bad = f'{{"{named}": "{ids[0]}"}}', (f'{{"{named}": "../x"}}', f'{{"{named}": 3}}')
    for text in (good, "{", "[]", *bad):
        (root / "index.json").write_text(text)
        assert store.default_id(root) == (ids[0] if ids[0] in text else ids[2])
    (root / ids[2] / "result.json").write_text("{")
    assert store.default_id(root) == ids[1]
    assert store.default_id(root / "nowhere") is None


def test_roots_come_from_the_environment(
    several: tuple[Path, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, ids = several
    monkeypatch.delenv("TEXTLOC_RESULTS", raising=False)
    assert [path.name for path in store.roots()] == ["cached_results"]
    mine = tmp_path / "mine"
    monkeypatch.setenv("TEXTLOC_RESULTS", os.pathsep.join([str(mine), str(root)]))
    assert store.roots() == [mine, root]
    assert store.load(ids[0]).folder == root / ids[0]
    assert store.save(*localize_document()).parent == mine
    (mine / ids[0]).mkdir()
    assert store.load(ids[0]).folder == root / ids[0]
    assert {s.id: bool(s.damaged) for s in store.listing()} == dict.fromkeys(
        [*ids, localize_document()[0]["id"]], False
    )


# ---------------------------------------------------------------------------- sharing


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://example.org", {}),
        ("https://example.org/space/", {}),
        ("https://example.org/?theme=dark&q=a+b%20c", {"theme": ["dark"], "q": ["a b c"]}),
        ("https://example.org/?r=ffffffffffffffff&x=&%72=1", {"x": [""]}),
        ("http://127.0.0.1:7860/?r=1#part", {}),
        ("", {}),
    ],
)
def test_permalink_keeps_the_rest_of_the_query(url: str, kept: dict[str, list[str]]) -> None:
    link = export.permalink(url, "0123456789abcdef")
    parts = urlsplit(link)
    assert parse_qs(parts.query, keep_blank_values=True) == {**kept, "r": ["0123456789abcdef"]}
    assert (parts.netloc, parts.path) == (urlsplit(url).netloc, urlsplit(url).path)
    assert parts.fragment == urlsplit(url).fragment
    assert export.permalink(link, "0123456789abcdef") == link


def test_table_and_csv() -> None:
    document, _ = localize_document(11, finished=5)
    table = export.to_table(document)
    assert [row["layer"] for row in table] == [0, 1, 2, 3, 4]
    document, _ = localize_document(11)
    document["layers"][0]["read"][0]["text"] = "=1+1"
    document["layers"][1]["scores"].update(effect=None, psnr_source=-3.0)
    document["layers"].reverse()
    table = export.to_table(document)
    assert [row["layer"] for row in table if row["selected"]] == [7, 8, 9]
    assert all(row.keys() == table[0].keys() for row in table)
    assert table[7]["read"].count(" | ") == 1
    rows = list(csv.DictReader(io.StringIO(export.to_csv(document))))
    assert len(rows) == 11
    assert rows[0]["read"].startswith("'=1+1 | ")
    assert (rows[1]["effect"], rows[1]["psnr_source"]) == ("", "-3.0")
    assert float(rows[9]["effect"]) == table[9]["effect"]
    assert rows[9]["name"] == "up_blocks.1.attentions.0.transformer_blocks.0.attn2"


def test_zip_loads_again_and_is_reproducible(saved: Path, tmp_path: Path) -> None:
    first = export.export_zip(saved.name, tmp_path / "a.zip", saved.parent)
    second = export.export_zip(saved.name, tmp_path / "b.zip", saved.parent)
    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as archive:
        archive.extractall(tmp_path / "elsewhere")
    again = store.load(saved.name, tmp_path / "elsewhere")
    assert again.document == store.load(saved.name, saved.parent).document
    with pytest.raises(StoreError, match="Could not write"):
        export.export_zip(saved.name, tmp_path / "nowhere" / "c.zip", saved.parent)
    rewrite(saved, _set("selected", []))
    with pytest.raises(StoreError, match="digest"):
        export.export_zip(saved.name, tmp_path / "c.zip", saved.parent)
    assert not (tmp_path / "c.zip").exists()


def test_the_store_needs_no_model_and_no_page() -> None:
    code = (
        "import sys, textloc.results.store as s; s.listing();"
        "print([m for m in ('torch', 'diffusers', 'gradio', 'plotly') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
