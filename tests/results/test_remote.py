"""Results in a store elsewhere: in memory, in a folder, and on a stand-in for the Hub."""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from tests import hub_writing
from tests.documents import localize_document
from textloc.errors import StoreError
from textloc.paths import SHIPPED_RESULTS
from textloc.results import places, removal, store, unlisted
from textloc.results.remote import index, stores
from textloc.results.remote.mirror import Mirror, opened

ANN, BOB = "a" * 32, "b" * 32


@pytest.fixture(params=["memory", "file", "hub"])
def address(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """An empty store of each kind."""
    if request.param == "hub":
        with hub_writing.serve(monkeypatch) as hub:
            hub.repositories["datasets/ann/kept"] = hub_writing.Repository()
            yield "hf://datasets/ann/kept/here"
    elif request.param == "file":
        yield (tmp_path / "store").as_uri()
    else:
        yield f"memory://{secrets.token_hex(8)}"


@pytest.fixture
def memory() -> str:
    return f"memory://{secrets.token_hex(8)}"


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Mirror]:
    """Be another machine (its name and the address of its results): its mirror."""

    def moved(machine: str, address: str) -> Mirror:
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / machine))
        monkeypatch.setenv("TEXTLOC_RESULTS", address)
        found = places.mirror(store.roots()[0])
        assert found is not None
        return found

    return moved


Machines = Callable[[str, str], Mirror]


def refuse(*_: object, **__: object) -> None:
    raise stores.Away("no route")


# -- coming and going -------------------------------------------------------------------------


def test_another_machine_lists_and_opens_it(address: str, at: Machines) -> None:
    here = at("one", address)
    document, images = localize_document()
    store.save(document, images)
    assert here.unsent() == {document["id"]}
    assert here.flush() == ""
    assert here.unsent() == set()
    there = at("two", address)
    listed = {one.id: one for one in store.listing(store.roots()[0])}
    assert list(listed) == [document["id"]]
    assert listed[document["id"]].title == store.title(document)
    assert listed[document["id"]].request == document["request"]
    assert not (there.folder / document["id"]).exists()  # a list opens nothing
    found = store.load(document["id"])
    assert found.folder == there.folder / document["id"]
    key = next(iter(images))
    assert found.image(key).tobytes() == images[key].tobytes()


def test_what_only_a_link_opens_and_who_may_delete_it(address: str, at: Machines) -> None:
    at("one", address)
    document, images = localize_document()
    name = document["id"]
    unlisted.keep(document, images, ANN)
    assert places.send() == ""
    at("two", address)
    assert store.listing(store.roots()[0]) == []
    assert store.load(name).folder.parent.name == store.UNLISTED
    assert unlisted.is_own(name, ANN)
    assert not unlisted.is_own(name, BOB)
    unlisted.keep(document, images, BOB)
    assert places.send() == ""
    at("one", address)
    assert not unlisted.delete(name, ANN)  # Bob made it elsewhere
    assert places.send() == ""
    at("three", address)
    assert store.load(name)
    assert not unlisted.is_own(name, ANN)
    assert unlisted.delete(name, BOB)
    assert places.send() == ""
    at("four", address)
    with pytest.raises(StoreError, match="no stored result"):
        store.load(name)
    at("one", address).refresh()
    with pytest.raises(StoreError, match="no stored result"):
        store.load(name)  # nor where a copy lay


def test_deleting_leaves_what_another_has_listed_too(address: str, at: Machines) -> None:
    document, images = localize_document()
    for machine in ("one", "two"):
        at(machine, address)
        store.save(document, images)
        assert places.send() == ""
    removal.delete(document["id"])
    assert store.listing(store.roots()[0]) == []
    assert places.send() == ""
    at("three", address)
    assert [one.id for one in store.listing(store.roots()[0])] == [document["id"]]
    assert store.load(document["id"])
    at("one", address)
    removal.delete(document["id"])
    assert places.send() == ""
    at("four", address)
    assert store.listing(store.roots()[0]) == []
    with pytest.raises(StoreError, match="no stored result"):
        store.load(document["id"])


def test_nothing_of_another_is_overwritten(address: str, at: Machines) -> None:
    first, images = localize_document()
    second = {**first, "timing": {"total_s": 99.0}}
    at("one", address)
    store.save(first, images)
    assert places.send() == ""
    at("two", address)
    store.save(second, images)
    assert places.send() == ""
    at("three", address)
    assert store.load(first["id"]).document.get("timing") == first.get("timing")
    assert len(store.listing(store.roots()[0])) == 1


# -- away -------------------------------------------------------------------------------------


def test_nothing_is_lost_while_the_store_is_away(memory: str, at: Machines) -> None:
    here = at("one", memory)
    there = here._remote.change
    here._remote.change = refuse
    document, images = localize_document()
    store.save(document, images)
    assert "1 result kept here" in places.send()
    assert "no route" in places.send()
    assert store.load(document["id"])
    assert [one.id for one in store.listing(here.folder)] == [document["id"]]
    here._remote.change = there
    again = Mirror(memory, here.folder)  # the next start
    assert again.unsent() == {document["id"]}
    assert again.flush() == ""
    at("two", memory)
    assert store.load(document["id"])


def test_a_page_sends_and_looks_by_itself(memory: str, at: Machines) -> None:
    here = at("one", memory)
    here._remote.pause = 0.01
    places.start()
    document, images = localize_document()
    store.save(document, images)
    end = time.monotonic() + 10
    while here.unsent() and time.monotonic() < end:
        time.sleep(0.01)
    assert not here.unsent()
    at("two", memory)
    assert store.load(document["id"])


def test_a_store_that_does_not_answer_is_not_asked_for_everybody(
    memory: str, at: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = at("one", memory)
    asked: list[str] = []

    def away(path: str, _to: Path) -> None:
        asked.append(path)
        raise stores.Away("no route")

    monkeypatch.setattr(here._remote, "read", away)
    for number in range(3):
        with pytest.raises(StoreError, match="cannot be reached now") as told:
            store.load(f"{number:016x}")
        assert "memory" not in str(told.value)
    assert len(asked) == 1
    assert store.listing(here.folder) == []


def test_unknown_results_are_looked_for_within_limits(
    memory: str, at: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = at("one", memory)
    asked: list[str] = []

    def missing(path: str, _to: Path) -> None:
        asked.append(path)
        raise FileNotFoundError(path)

    monkeypatch.setattr(here._remote, "read", missing)
    for _ in range(3):
        with pytest.raises(StoreError, match="no stored result"):
            store.load("0" * 16)
    assert asked == ["results/00/0000000000000000.zip"]
    said = []
    for number in range(1, 122):
        with pytest.raises(StoreError) as told:
            store.load(f"{number:016x}")
        said.append("try again in a minute" in str(told.value))
    assert said == [False] * 119 + [True] * 2
    assert len(asked) == 120


# -- what is in the store is not believed -----------------------------------------------------


def test_a_damaged_copy_is_brought_again(memory: str, at: Machines) -> None:
    here = at("one", memory)
    document, images = localize_document()
    folder = store.save(document, images)
    assert places.send() == ""
    (folder / "result.json").write_text("{")
    assert store.load(document["id"]).document["id"] == document["id"]
    assert (here.folder / document["id"] / "result.json").stat().st_size > 1


def test_what_is_not_the_result_is_not_taken(memory: str, at: Machines) -> None:
    document, images = localize_document()
    name = document["id"]
    at("one", memory)
    store.save(document, images)
    assert places.send() == ""
    files = fsspec.filesystem("memory")
    root = memory.removeprefix("memory:/")
    packed = files.cat_file(f"{root}/results/{name[:2]}/{name}.zip")
    files.pipe_file(f"{root}/results/00/{'0' * 16}.zip", packed)
    files.pipe_file(f"{root}/results/{name[:2]}/{name}.zip", packed[:-100])
    here = at("two", memory)
    with pytest.raises(StoreError, match="another result"):
        store.load("0" * 16)
    with pytest.raises(StoreError, match="unpacked"):
        store.load(name)
    assert not list(here.folder.glob("*/result.json"))
    for bad in ("../../etc", "0" * 15, "..", "a/b", ""):
        with pytest.raises(StoreError, match="not a result ID"):
            here.bring(bad)


def test_lines_that_do_not_belong_to_their_result_are_passed_over() -> None:
    document, _ = localize_document()
    entry = index.entry_of(document, "0" * 16, 5.0)
    _, data = index.packed([entry])
    assert index.read(data) == [entry]
    other = document["request"]["pairs"][0]["target_text"].encode()
    wrong = [
        data.replace(other, b"NEVER"),
        data.replace(document["id"].encode(), b"../../../../../x"),
        data.replace(b'"writer":"0000000000000000"', b'"writer":"../x"'),
        data.replace(b'"at":5.0', b'"at":NaN'),
        data.replace(b"textloc.localize/1", b"textloc.unknown/1"),
        data[:-20],
        b"[]\n1\n\xff\n{}\n",
    ]
    for bad in wrong:
        assert bad != data
        assert index.read(bad) == []
    assert not index.is_name("../" + "0" * 32 + ".jsonl")


def test_files_of_the_index_are_put_together(
    memory: str, at: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("textloc.results.remote.mirror._MOST_FILES", 2)
    here = at("one", memory)
    names = []
    for seed in range(4):
        document, images = localize_document(seeds=(seed,))
        names.append(document["id"])
        store.save(document, images)
        assert places.send() == ""
    assert len(here._remote.names("index")) < 3
    there = at("two", memory)
    assert {one.id for one in store.listing(there.folder)} == set(names)


# -- the Hub ----------------------------------------------------------------------------------


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[hub_writing.Hub]:
    with hub_writing.serve(monkeypatch) as found:
        found.repositories["datasets/ann/kept"] = hub_writing.Repository()
        yield found


HUB = "hf://datasets/ann/kept"


def test_several_results_are_one_commit(hub: hub_writing.Hub, at: Machines) -> None:
    at("one", HUB)
    for seed in range(3):
        store.save(*localize_document(seeds=(seed,)))
    assert places.send() == ""
    assert hub.repositories["datasets/ann/kept"].commits == 1
    assert len(hub.paths("datasets/ann/kept")) == 4  # and the index


def test_two_that_write_at_once_lose_nothing(hub: hub_writing.Hub, at: Machines) -> None:
    document, images = localize_document()
    same = f"results/{document['id'][:2]}/{document['id']}.zip"
    held = hub.repositories["datasets/ann/kept"]

    def other() -> None:
        held.files |= {same: b"of another", "theirs": b"1"}
        held.commits += 1

    hub.before_commit.append(other)
    at("one", HUB)
    store.save(document, images)
    assert places.send() == ""
    assert held.files[same] == b"of another"
    assert held.files["theirs"] == b"1"
    assert held.commits == 2


def test_the_hub_says_why_it_takes_nothing(
    hub: hub_writing.Hub, at: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = at("one", HUB)
    store.save(*localize_document())
    hub.refuses = ("/api/datasets/ann/kept/commit",)
    assert "may not write" in here.flush()
    hub.refuses = ()
    hub.away = True
    assert here.flush()
    with pytest.raises(StoreError, match="cannot be reached now"):
        store.load("0" * 16)
    hub.away = False
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    assert "there is no token" in here.flush()
    assert len(here.unsent()) == 1
    monkeypatch.undo()


def test_a_dataset_that_is_not_there(hub: hub_writing.Hub, at: Machines) -> None:
    here = at("one", "hf://datasets/ann/none")
    store.save(*localize_document())
    assert "no such dataset" in here.flush()
    assert store.listing(here.folder)  # it is listed from here


class Buckets:
    """Stands in for what `HfApi` does with a bucket, which needs a store of chunks."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def batch_bucket_files(self, _name: str, add: Any = (), delete: Any = ()) -> None:
        for source, path in add:
            self.files[path] = source if isinstance(source, bytes) else Path(source).read_bytes()
        for path in delete:
            del self.files[path]

    def get_bucket_paths_info(self, _name: str, paths: list[str]) -> list[Any]:
        return [self._file(path) for path in paths if path in self.files]

    def list_bucket_tree(self, _name: str, prefix: str, recursive: bool) -> list[Any]:
        return [self._file(path) for path in self.files if path.startswith(prefix)]

    def download_bucket_files(self, _name: str, files: Any, raise_on_missing_files: bool) -> None:
        from huggingface_hub.errors import EntryNotFoundError

        for path, to in files:
            if path not in self.files:
                raise EntryNotFoundError(path)
            Path(to).write_bytes(self.files[path])

    def _file(self, path: str) -> Any:
        from huggingface_hub import BucketFile

        size = len(self.files[path])
        return BucketFile(type="file", path=path, size=size, xetHash="0", mtime=None)


def test_a_bucket_of_the_hub(at: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Buckets()
    monkeypatch.setattr("huggingface_hub.HfApi", lambda **_: held)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "hf_stand_in")
    document, images = localize_document()
    at("one", "hf://buckets/ann/kept/here")
    unlisted.keep(document, images, ANN)
    assert places.send() == ""
    at("two", "hf://buckets/ann/kept/here")
    assert store.load(document["id"])
    assert unlisted.delete(document["id"], ANN)
    assert places.send() == ""
    assert [path for path in held.files if not path.startswith("here/index/")] == []


# -- addresses --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("/a:/b", ["/a", "/b"]),
        ("hf://datasets/o/n", ["hf://datasets/o/n"]),
        ("hf://datasets/o/n:/b", ["hf://datasets/o/n", "/b"]),
        ("/a:s3://bucket/x:memory://y", ["/a", "s3://bucket/x", "memory://y"]),
        ("http://host:8000/x:/b", ["http://host:8000/x", "/b"]),
        ("ftp://me:secret@host:21/x:b", ["ftp://me:secret@host:21/x", "b"]),
        ("hf:x", ["hf", "x"]),
        ("", []),
    ],
)
def test_a_list_of_places_is_split_where_one_ends(said: str, meant: list[str]) -> None:
    assert places.parts(said) == meant


def test_what_ships_is_behind_an_address(memory: str, at: Machines) -> None:
    here = at("one", memory)
    assert [place.name for place in store.roots()] == [here.folder.name, "cached_results"]
    assert store.default_id() == store.default_id(SHIPPED_RESULTS)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("hf://ann/model", "write hf://datasets/owner/name"),
        ("hf://datasets/ann", "write hf://datasets/owner/name"),
        ("hf://datasets/ann/../x", "write hf://datasets/owner/name"),
        ("nonesuch://me:secret@x/y", "cannot be used here"),
        ("simplecache::memory://x", "cannot be used here"),
    ],
)
def test_an_address_that_cannot_be_used(
    address: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StoreError, match=said) as told:
        opened(address, tmp_path)
    assert "secret" not in str(told.value)
    monkeypatch.setenv("TEXTLOC_RESULTS", address)
    assert store.listing(store.roots()[0]) == []


def test_the_folder_of_last_results_is_not_sent(memory: str, at: Machines) -> None:
    here = at("one", memory)
    store.keep_last(*localize_document())
    assert here.unsent() == set()
    shutil.rmtree(here.folder)
    assert store.listing(here.folder) == []
