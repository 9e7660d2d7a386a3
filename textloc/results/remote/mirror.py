"""A folder here for a store elsewhere: results come when they are opened, and go in batches.

1. What is to be sent or deleted is noted in `.unsent/` before it is done here, one file an order,
   and the file goes only when the store has taken it: a crash, a restart or a store that is away
   loses nothing.
2. What is in the store already stays as it is. Deleting takes away what this mirror, or this
   visitor, has put there; what another has put there, too, stays.
3. A result is brought by its ID, unpacked aside, verified, and only then put into the folder.
4. Lists are made of the index (`index`), of which each file is read once.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import shutil
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from textloc.errors import StoreError
from textloc.files import replace_file, sync_folder, write_new
from textloc.results import export, opening, removal, store
from textloc.results.places import UNLISTED, shown
from textloc.results.remote import index
from textloc.results.remote.stores import Away, Moved, Remote, connect

_LOG = logging.getLogger(__name__)
_BATCH = 50
"""Results of one change of the store."""
_TRIES = 5
_REFRESH = 60.0
"""Seconds until the store is looked at again for what others have listed."""
_BREAK = 30.0
"""Seconds that a store which did not answer is not asked on behalf of a visitor."""
_FIRST_WAIT, _LONGEST_WAIT = 5.0, 300.0
"""Seconds until what could not be sent is tried again, doubled each time."""
_MISSED = 60.0
"""Seconds that a result which was not there counts as not there."""
_MOST_MISSED = 120
"""Results that nobody knows which are looked for in `_MISSED` seconds."""
_MOST_FILES = 200
"""Files of the index from which on they are put together."""
_CLAIM = re.compile(r"[0-9a-f]{64}")

CLAIMS = "claims"
"""Folder beside an unlisted result's document: hashes of who may delete it (`unlisted`)."""


@dataclass(frozen=True)
class Order:
    """What the store is to be told. do: `list`, `keep` (unlisted) or `delete`. claim: with
    `delete`, of whom; empty deletes what is listed."""

    file: Path
    do: str
    id: str
    claim: str = ""


class Mirror:
    """The mirror of one address in `folder`. It can be used by several threads, and its folder by
    several processes."""

    def __init__(self, address: str, folder: Path) -> None:
        self.address, self.folder = shown(address), folder
        self._remote: Remote = connect(address)
        self._sending, self._first, self._counting = (threading.Lock() for _ in range(3))
        self._news, self._thread = threading.Event(), threading.Lock()
        self._runs = False
        self._away: tuple[float, str] = (0.0, "")  # until when, why
        self._missed: dict[str, float] = {}
        self._lookups: deque[float] = deque(maxlen=_MOST_MISSED)
        self._looked: float | None = None  # when the index was read last
        self._shards: dict[str, list[index.Entry]] = {}
        self._live: dict[str, index.Entry] = {}
        self._summaries: list[store.Summary] = []

    # -- bringing ----------------------------------------------------------------------------

    def bring(self, result_id: str) -> Path | None:
        """The folder of a result that is in the store, brought here; None where there is none. A
        damaged copy here gives way, unless it is one that is yet to be sent.

        Raises:
            StoreError: the store cannot be reached, or what it holds is damaged.
        """
        name = store.check_id(result_id)
        waiting = [order.do for order in self._orders() if order.id == name]
        if waiting or self._is_missed(name):
            return None
        with self._asked(), tempfile.TemporaryDirectory(prefix="textloc-result-") as held:
            packed, root = Path(held) / "packed.zip", Path(held) / "result"
            try:
                self._remote.read(_packed(name), packed)
            except FileNotFoundError:
                self._missed[name] = time.monotonic()
                return None
            with packed.open("rb") as archive:
                if opening.unpack(archive, root) != name:
                    raise StoreError(f"The store holds another result in the place of {name}.")
            store.load(name, root)
            home = self.folder if self.is_listed(name) else self.folder / UNLISTED
            if home != self.folder:
                (root / name / CLAIMS).mkdir()
                for claim in self._claims(name):
                    (root / name / CLAIMS / claim).touch()
            return _moved(root / name, home)

    def is_listed(self, result_id: str) -> bool:
        """Whether lists show a result of the store."""
        self._index()
        return result_id in self._live

    def claims(self, result_id: str) -> None:
        """Note here who else may delete an unlisted result, where the store can be asked."""
        folder = self.folder / UNLISTED / store.check_id(result_id) / CLAIMS
        removed = {one.claim for one in self._orders() if one.id == result_id and one.claim}
        with suppress(StoreError), self._asked():
            for claim in self._claims(result_id):
                if folder.is_dir() and claim not in removed:
                    (folder / claim).touch()

    def _claims(self, result_id: str, seen: str | None = None) -> list[str]:
        found = self._remote.names(f"claims/{result_id[:2]}/{result_id}", seen)
        return [name for name in found if _CLAIM.fullmatch(name)]

    def _is_missed(self, name: str) -> bool:
        """Whether a result was just not there; raises where too many unknown ones are asked for."""
        now = time.monotonic()
        if now - self._missed.get(name, -_MISSED) < _MISSED:
            return True
        if len(self._missed) > 10_000:
            self._missed.clear()
        if not self.is_listed(name):
            if len(self._lookups) == _MOST_MISSED and now - self._lookups[0] < _MISSED:
                raise StoreError("Too many results are looked for at once; try again in a minute.")
            self._lookups.append(now)
        return False

    @contextmanager
    def _asked(self) -> Iterator[None]:
        """Ask the store for a visitor: not at all where it just did not answer."""
        until, why = self._away
        try:
            if time.monotonic() < until:
                raise Away(why)
            yield
        except Away as error:
            if time.monotonic() >= until:
                self._away = (time.monotonic() + _BREAK, str(error))
                _LOG.warning("%s cannot be read: %s", self.address, error)
            raise StoreError(
                "The store of results cannot be reached now; try again in a minute."
            ) from error

    # -- listing -----------------------------------------------------------------------------

    def listed(self) -> list[store.Summary]:
        """What lists show of the store and of what is yet to be sent. Never raises."""
        self._index()
        deleted = {order.id for order in self._orders() if order.do == "delete"}
        return [one for one in self._summaries if one.id not in deleted]

    def unsent(self) -> set[str]:
        """IDs of the results that are yet to be sent."""
        return {order.id for order in self._orders() if order.do != "delete"}

    def refresh(self, seen: str | None = None) -> None:
        """Read what others have listed and deleted since. Raises `Away`."""
        there = {name for name in self._remote.names("index", seen) if index.is_name(name)}
        new = there - set(self._local_shards())
        for name in new:
            with suppress(FileNotFoundError):  # put together with others meanwhile
                self._keep_shard(name)
        for name in set(self._local_shards()) - there:
            self._shard(name).unlink(missing_ok=True)
        self._looked = time.monotonic()
        self._recount()
        for name in new & set(self._shards):
            self._forget(one.id for one in self._shards[name] if one.gone)

    def _keep_shard(self, name: str) -> None:
        self._shard(name).parent.mkdir(parents=True, exist_ok=True)
        replace_file(self._shard(name), lambda file: self._remote.read(f"index/{name}", file))

    def _index(self) -> None:
        """Have the index read once in this process; the thread reads it again and again."""
        if self._looked is not None:
            return
        with self._first:
            if self._looked is None:
                try:
                    with self._asked():
                        self.refresh()
                except StoreError:
                    self._recount()
                    self._looked = time.monotonic()

    def _recount(self) -> None:
        """What is listed, by the files of the index that are here."""
        with self._counting:
            local = self._local_shards()
            for name in set(self._shards) - set(local):
                del self._shards[name]
            for name in set(local) - set(self._shards):
                with suppress(OSError):
                    self._shards[name] = index.read(self._shard(name).read_bytes())
            self._live = index.live(self._lines())
            self._summaries = [entry.summary() for entry in self._live.values()]

    def _lines(self) -> list[index.Entry]:
        return [one for shard in list(self._shards.values()) for one in shard]

    def _forget(self, deleted: Iterable[str]) -> None:
        """Remove copies of what another has deleted, unless they are yet to be sent."""
        unsent = self.unsent()
        for name in set(deleted) - set(self._live) - unsent:
            for folder in (self.folder / name, self.folder / UNLISTED / name):
                with suppress(OSError):
                    shutil.rmtree(removal.set_aside(folder))

    def _shard(self, name: str) -> Path:
        return self.folder / ".index" / name

    def _local_shards(self) -> list[str]:
        with suppress(OSError):
            return [file.name for file in self._shard("").iterdir() if index.is_name(file.name)]
        return []

    # -- sending -----------------------------------------------------------------------------

    def note(self, do: str, result_id: str, claim: str = "") -> None:
        """Note what the store is to be told (see `Order`); `wake` tells it. Raises `OSError`."""
        folder = self.folder / ".unsent"
        folder.mkdir(parents=True, exist_ok=True)
        order = {"do": do, "id": store.check_id(result_id), "claim": claim}
        write_new(
            folder / f"{time.time_ns():020d}-{secrets.token_hex(4)}.json",
            json.dumps(order).encode(),
        )
        sync_folder(folder)
        self._missed.pop(result_id, None)

    def _orders(self) -> list[Order]:
        """What is noted, the oldest first."""
        found = []
        for file in sorted((self.folder / ".unsent").glob("*.json")):
            try:
                told = json.loads(file.read_bytes())
                order = Order(file, told["do"], store.check_id(told["id"]), told["claim"])
            except FileNotFoundError:
                continue
            except (OSError, ValueError, LookupError, TypeError, StoreError):
                continue  # not written to its end: what it was to note was not done either
            found.append(order)
        return found

    def send(self) -> None:
        """Tell the store all that is noted. Raises `Away`; what is left stays noted."""
        with self._sending:
            while orders := self._orders():
                self._remote.writable()
                first = next((n for n, one in enumerate(orders) if one.do == "delete"), _BATCH)
                batch = orders[: min(max(first, 1), _BATCH)]
                self._send(batch)
                for order in batch:
                    order.file.unlink(missing_ok=True)
                self._away = (0.0, "")

    def _send(self, batch: list[Order]) -> None:
        for _ in range(_TRIES):
            seen = self._remote.revision()
            with tempfile.TemporaryDirectory(prefix="textloc-sending-") as held:
                if batch[0].do == "delete":
                    add, remove, entries = self._deleting(batch[0], seen)
                else:
                    add, remove, entries = self._keeping(batch, seen, Path(held))
                if entries:
                    name, data, old = self._indexed(entries, seen)
                    add[f"index/{name}"] = data
                    remove += [f"index/{one}" for one in old]
                if not add and not remove:
                    return
                try:
                    self._remote.change(add, remove, seen)
                except Moved:
                    continue
                if entries:
                    self.refresh()
                return
        raise Away("others write there all the time")

    def _keeping(
        self, batch: list[Order], seen: str | None, held: Path
    ) -> tuple[dict[str, bytes | Path], list[str], list[index.Entry]]:
        add: dict[str, bytes | Path] = {}
        entries = []
        for order in batch:
            root = self.folder if order.do == "list" else self.folder / UNLISTED
            try:
                if not (root / order.id).is_dir():
                    continue  # deleted meanwhile, or never stored
                stored = store.load(order.id, root)
                add[_packed(order.id)] = export.export_zip(order.id, held / order.id, root)
            except StoreError as error:
                _LOG.warning("a result is not sent: %s", error)
                continue
            if order.do == "list":
                at = stored.files()[0].stat().st_mtime
                entries.append(index.entry_of(stored.document, self._writer(), at))
            else:
                for file in (root / order.id / CLAIMS).glob("*"):
                    if _CLAIM.fullmatch(file.name):
                        add[f"claims/{order.id[:2]}/{order.id}/{file.name}"] = b"1\n"
        for path in self._remote.existing(list(add), seen) if add else ():
            del add[path]
        return add, [], entries

    def _deleting(
        self, order: Order, seen: str | None
    ) -> tuple[dict[str, bytes | Path], list[str], list[index.Entry]]:
        self.refresh(seen)
        packed = _packed(order.id)
        claims = {f"claims/{order.id[:2]}/{order.id}/{one}" for one in self._claims(order.id, seen)}
        own = f"claims/{order.id[:2]}/{order.id}/{order.claim}"
        every = self._lines()
        if not order.claim:
            every = [one for one in every if one.writer != self._writer()]
        if order.claim and own not in claims:
            return {}, [], []
        remove = [own] if order.claim else []
        if not claims - {own} and order.id not in index.live(every):
            remove += self._remote.existing([packed], seen)
        gone = index.Entry(order.id, self._writer(), time.time(), gone=True)
        return {}, remove, [gone] if packed in remove or not order.claim else []

    def _indexed(
        self, entries: list[index.Entry], seen: str | None
    ) -> tuple[str, bytes, list[str]]:
        """A new file of the index, and those that it takes the place of."""
        self.refresh(seen)
        old = list(self._shards) if len(self._shards) >= _MOST_FILES else []
        before = [one for name in old for one in self._shards[name]]
        name, data = index.packed({*before, *entries})
        return name, data, [one for one in old if one != name]

    def _writer(self) -> str:
        """What this mirror is called in the index."""
        file = self.folder / ".writer"
        if not file.exists() or not index.is_writer(file.read_text()):
            self.folder.mkdir(parents=True, exist_ok=True)
            replace_file(file, lambda new: new.write_text(secrets.token_hex(8)))
        return file.read_text()

    # -- when --------------------------------------------------------------------------------

    def start(self) -> None:
        """Send what is noted, and look for what others have listed, from now on in a thread."""
        with self._thread:
            if not self._runs:
                threading.Thread(target=self._work, name="textloc-sending", daemon=True).start()
                self._runs = True

    def wake(self) -> None:
        """Have what is noted sent soon, where `start` was called."""
        self._news.set()

    def flush(self) -> str:
        """Send what is noted now; why that did not work, or empty."""
        try:
            self.send()
        except Away as error:
            return str(error)
        return ""

    def _work(self) -> None:
        wait, again = 0.0, _FIRST_WAIT
        while True:
            self._news.wait(wait)
            self._news.clear()
            sent = self._tried(self.send)
            looked = time.monotonic() - (self._looked or -_REFRESH) < _REFRESH
            good = (looked or self._tried(self.refresh)) and sent
            wait = _REFRESH if good else again
            again = _FIRST_WAIT if good else min(2 * again, _LONGEST_WAIT)
            time.sleep(self._remote.pause)

    def _tried(self, do: Callable[[], object]) -> bool:
        try:
            do()
        except Away as error:
            waiting = len(self.unsent())
            _LOG.warning("%s is away (%s); %d results wait here", self.address, error, waiting)
        except Exception:  # such as of a full disk here; the next try may go well
            _LOG.exception("results cannot be sent")
        else:
            return True
        return False


def _packed(result_id: str) -> str:
    return f"results/{result_id[:2]}/{result_id}.zip"


def _moved(folder: Path, home: Path) -> Path:
    """Put a verified folder into `home`, in the place of a damaged one; a good one stays."""
    place = home / folder.name
    copy = home / f".bringing-{folder.name}-{secrets.token_hex(8)}"
    try:
        home.mkdir(parents=True, exist_ok=True)
        shutil.copytree(folder, copy)
        if place.exists():
            with suppress(StoreError):
                store.verified(place)
                return place
            shutil.rmtree(removal.set_aside(place), ignore_errors=True)
        with suppress(OSError):  # another thread was first
            copy.rename(place)
    except OSError as error:
        raise StoreError("The result was found, but there is no room for it here.") from error
    finally:
        shutil.rmtree(copy, ignore_errors=True)
    return place


_opened: dict[tuple[str, Path], Mirror] = {}
_opening = threading.Lock()


def opened(address: str, folder: Path) -> Mirror:
    """The one mirror of an address in this process. Raises `StoreError` as `connect`."""
    with _opening:
        found = _opened.get((address, folder))
        if found is None:
            found = _opened[address, folder] = Mirror(address, folder)
        return found
