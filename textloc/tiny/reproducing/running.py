"""Runs what was not made from the present weights, and puts what comes out in place.

1. Entries are run cheap first, none before what it needs, each command in a process of its own.
   What a killed command had finished is kept by the cell cache (`textloc cache`) or in its folder.
2. A result that comes out is noted in the record beside the one before it; then every link to that
   one is followed, and it is removed. Each of these can be repeated, so a kill between two of them
   is mended by the next start.
3. A failed entry stops what needs it and nothing else.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from textloc import threads
from textloc.errors import ReproduceError, StoreError
from textloc.files import replace_file
from textloc.results import removal, store
from textloc.tiny.reproducing import links, manifest, record
from textloc.tiny.reproducing.manifest import Entry

_TAIL = 6  # lines of a failed command that are told
_KEPT = 8  # characters of a fingerprint in the name of a folder


@dataclass(frozen=True)
class Line:
    """One entry as `--list` shows it. state: `made`, or why it is to be made. seconds: how long it
    took last, None where that is not known."""

    name: str
    makes: str
    state: str
    seconds: float | None


@dataclass
class Reproduction:
    """The reproduction of a checkout.

    root: the checkout. entries: its manifest. data: folder of the word lists that do not ship.
    jobs: commands at a time. say: told one line at a time.
    """

    root: Path
    entries: Mapping[str, Entry]
    data: Path | None = None
    jobs: int = 1
    say: Callable[[str], None] = lambda _line: None
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict, init=False)
    stopped: bool = field(default=False, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __post_init__(self) -> None:
        self.record = record.read(self.root)

    # -- what there is -----------------------------------------------------------------------

    def order(self) -> list[str]:
        """Names of all entries in the order of the work."""
        known = {
            name: float(one["seconds"])
            for name, one in self.record.entries.items()
            if one.get("seconds") is not None
        }
        return manifest.ordered(self.entries, known)

    def missing(self, name: str) -> str | None:
        """Why an entry is to be made; None where it is made."""
        return record.missing(self.root, self.record, self.entries[name], self.entries)

    def listing(self) -> list[Line]:
        """Every entry, in the order of the work."""
        return [
            Line(
                name,
                self.entries[name].makes,
                self.missing(name) or "made",
                self.record.entries.get(name, {}).get("seconds"),
            )
            for name in self.order()
        ]

    # -- the work ----------------------------------------------------------------------------

    def run(self, only: Sequence[str] = ()) -> list[str]:
        """Make what is to be made, of `only` and what they need, or of all; the names made.

        Raises:
            ReproduceError: an unknown name, or commands that failed; all that did not depend on
                them is made nevertheless.
        """
        self.settle()
        wanted = manifest.with_needs(self.entries, only or self.entries)
        order = [name for name in self.order() if name in wanted]
        waiting = [name for name in order if self.missing(name)]
        self.say(f"{len(waiting)} of {len(order)} to make")
        made: list[str] = []
        failed: dict[str, str] = {}
        going: dict[Future[float], str] = {}
        with ThreadPoolExecutor(self.jobs) as pool:
            try:
                while waiting or going:
                    self._begin(pool, waiting, going, failed)
                    if not going:
                        break
                    done, _ = wait(going, return_when=FIRST_COMPLETED)
                    for future in done:
                        name = going.pop(future)
                        try:
                            self._put(self.entries[name], future.result())
                            made.append(name)
                        except (ReproduceError, StoreError) as error:
                            failed[name] = str(error)
                            self.say(f"{name}: {error}")
            except BaseException:
                self.stop()
                raise
        if failed:
            raise ReproduceError(
                f"{len(made)} made; failed: {', '.join(failed)}. Mend what is said above, then run "
                "the same command again: it goes on from here"
            )
        return made

    def _begin(
        self,
        pool: ThreadPoolExecutor,
        waiting: list[str],
        going: dict[Future[float], str],
        failed: dict[str, str],
    ) -> None:
        """Start what can be started."""
        for name in list(waiting):
            needs = self.entries[name].needs
            if broken := [one for one in needs if one in failed]:
                waiting.remove(name)
                failed[name] = f"needs {broken[0]}"
                self.say(f"{name}: not made, it needs {broken[0]}")
            elif self._has_room(name, going) and not {*needs} & {*waiting, *going.values()}:
                waiting.remove(name)
                try:
                    words = self.words(self.entries[name])
                except (ReproduceError, StoreError) as error:
                    failed[name] = str(error)
                    self.say(f"{name}: {error}")
                    continue
                self.say(f"{name}: {' '.join(self.entries[name].command)}")
                going[pool.submit(self._command, self.entries[name], words)] = name

    def _has_room(self, name: str, going: Mapping[Future[float], str]) -> bool:
        """Whether an entry may run beside those that do."""
        beside = [self.entries[other] for other in (name, *going.values())]
        return not going or (len(going) < self.jobs and not any(one.alone for one in beside))

    def stop(self) -> None:
        """End every command that runs; they go on at the next start."""
        with self._lock:
            self.stopped = True
            for process in self.running.values():
                process.terminate()

    def _command(self, entry: Entry, words: Sequence[str]) -> float:
        """Run an entry's command to its end; how many seconds it took.

        Raises:
            ReproduceError: it failed; with its last lines.
        """
        began = time.monotonic()
        log, out = self._folder() / f"{entry.name}.log", self._folder() / f"{entry.name}.out"
        with log.open("wb") as errors, out.open("wb") as output:
            with self._lock:
                if self.stopped:
                    raise ReproduceError("stopped")
                process = subprocess.Popen(
                    words, cwd=self.root, env=self._environment(), stdout=output, stderr=errors
                )
                self.running[entry.name] = process
            status = process.wait()
            with self._lock:
                del self.running[entry.name]
        if status:
            said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise ReproduceError(
                f"its command ended with {status} (runs/reproduce/{log.name}): "
                + " / ".join(line.split("\r")[-1].strip() for line in said[-_TAIL:])
            )
        return time.monotonic() - began

    def _environment(self) -> dict[str, str]:
        asked = {"TEXTLOC_RESULTS": str(self.root / "cached_results")}
        if self.jobs > 1 and "OMP_NUM_THREADS" not in os.environ:
            asked["OMP_NUM_THREADS"] = str(max(1, threads.cores() // self.jobs))
        return {**os.environ, **asked}

    # -- commands ----------------------------------------------------------------------------

    def words(self, entry: Entry) -> list[str]:
        """The command of an entry as it is run.

        Raises:
            ReproduceError: what is to be filled in is not known.
        """
        program, *rest = entry.filled(lambda place: self._fill(entry, place))
        words = [sys.executable, *(["-m", "textloc"] if program == "textloc" else []), *rest]
        if entry.makes != "file" and not entry.lines:
            words += ["--json", str(self._json(entry))]
        return words

    def _fill(self, entry: Entry, place: str) -> str:
        kind, _, rest = place.partition(":")
        name, _, key = rest.partition(":")
        if kind == "data":
            if self.data is None:
                raise ReproduceError("it needs word lists that do not ship: give --data FOLDER")
            return str(self.data.resolve())
        if kind == "run":
            return str(self._run_folder(self.entries[name] if name else entry))
        if kind == "result" and name:
            return self.record.id(name)
        if kind == "found" and key:
            found = record.found(self.root, self.record, self.entries[name])
            if isinstance(found, Mapping) and key in found:
                return manifest.joined(found[key])
            raise ReproduceError(f"{name} says nothing of {key!r}")
        raise ReproduceError(f"its command has {{{place}}}, which cannot be filled")

    def _folder(self) -> Path:
        folder = self.root / "runs" / "reproduce"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _json(self, entry: Entry) -> Path:
        return self._folder() / f"{entry.name}.json"

    def _run_folder(self, entry: Entry) -> Path:
        """A folder for what an entry trains; another one when it is made from something else."""
        print_ = record.fingerprint(self.root, entry, self.entries)[:_KEPT]
        folder = self._folder() / f"{entry.name}-{print_}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder.relative_to(self.root)

    # -- what comes out ----------------------------------------------------------------------

    def _put(self, entry: Entry, seconds: float) -> None:
        """Note what a command made, and put it in place.

        Raises:
            ReproduceError: it made nothing, or of other weights. StoreError: a damaged result.
        """
        self.record = record.read(self.root)  # what another process noted meanwhile stays
        noted = record.made_with(self.root, entry, self.entries)
        noted["seconds"] = round(seconds, 1)
        told = ""
        if entry.makes == "result":
            noted["id"] = self._result(entry)
            old = self.record.entries.get(entry.name, {}).get("id")
            self.record.follow(old, noted["id"])
            told = f", result {noted['id']}"
        elif entry.makes == "measure":
            self._measure(entry, noted)
        elif not (self.root / entry.path).exists():
            raise ReproduceError(f"its command made no {entry.path}")
        self.record.entries[entry.name] = noted
        self.record.save()
        self.settle()
        if (why := self.missing(entry.name)) is not None:
            raise ReproduceError(f"what its command made does not count: {why}")
        self.say(f"{entry.name}: made in {seconds:.0f} s{told}")

    def _result(self, entry: Entry) -> str:
        """The ID of a result that a command stored; its pictures are packed, as many ship."""
        result, home = str(self._said(entry)["id"]), self.root / "cached_results"
        found = store.load(result, home)
        if all(path.suffix == ".webp" for path in found.files()[1:]):
            return result
        images = {key: found.image(key) for key in found.image_keys()}
        removal.delete(result, home)
        store.save(found.document, images, home, packed=True)
        return result

    def _measure(self, entry: Entry, noted: Mapping[str, Any]) -> None:
        if entry.lines:
            out = self._folder() / f"{entry.name}.out"
            found: Any = out.read_text(encoding="utf-8").splitlines()
        else:
            found = self._said(entry)
        said = {"command": noted["command"], "of": noted["of"], "found": found}
        text = json.dumps(said, ensure_ascii=False, indent=1) + "\n"
        path = record.measure_path(self.root, entry.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, lambda file: file.write_text(text, encoding="utf-8"))

    def _said(self, entry: Entry) -> Any:
        """What the command wrote as JSON."""
        try:
            return json.loads(self._json(entry).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ReproduceError(f"its command wrote no JSON ({error})") from error

    def settle(self) -> None:
        """Follow links to results that others took the place of, and remove those."""
        now = self.record.now()
        for name in links.follow(self.root, now):
            self.say(f"links followed in {name}")
        kept = {one.get("id") for one in self.record.entries.values()}
        for old in set(now) - kept:
            if (self.root / "cached_results" / old).is_dir():
                removal.delete(old, self.root / "cached_results")
                self.say(f"removed {old}, in whose place stands {now[old]}")


def ship(run: Path, name: str, loras: Path) -> Path:
    """Put a trained LoRA where those that ship are; its folder.

    run: folder of the training. name: what it will be known by.

    Raises:
        ReproduceError: the training is not finished.
    """
    from textloc.checkpoints.loras import ABOUT, FILE
    from textloc.files import new_folder

    names = (FILE, ABOUT, "README.md")
    if lacking := [one for one in names if not (run / one).is_file()]:
        raise ReproduceError(f"{run} holds no {lacking[0]}; train to the end first")
    with new_folder(loras / name) as new:
        for one in names:
            shutil.copyfile(run / one, new / one)
        card = new / "README.md"
        text = card.read_text(encoding="utf-8")
        place = f'pipe.load_lora_weights("assets/loras/{name}")'
        card.write_text(
            text.replace(f'pipe.load_lora_weights("{run.name}")', place), encoding="utf-8"
        )
    return loras / name
