"""Cells made on a Ray cluster: one worker a device holds the model, and each cell is a task of it.

1. `joined` connects to a cluster, or starts one on this machine, and has workers load the model:
   one a GPU of the cluster; where there is none, one for as many CPUs as torch uses threads here.
2. The job is planned here, as without a cluster, on a `Remote` model, which is loaded on the CPU
   for its layers and tokenizers. What is not kept is begun on the workers, some of it before it is
   asked for (`keeping`), and comes back in order.
3. A cell is with one worker at a time. Where a worker is lost, its cell goes to another one, and a
   new worker is started. A cell, or a start, that loses `TRIES` workers ends the job.
4. Workers share nothing but the kept cells, which are written here.

What a cell comes to depends on the machine (the last bits of sums), so all workers have to be of
one kind, and the rows of a call are those that fit on them. Ray is imported here and nowhere else.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from textloc.checkpoints import known, loading, loras
from textloc.checkpoints.loading import Model
from textloc.checkpoints.memory import call_size
from textloc.errors import Cancelled, ClusterError, TextlocError
from textloc.jobs import made_by
from textloc.jobs.worker import Asked, Facts, Worker
from textloc.results import provenance
from textloc.runs import Sampling

TRIES = 3
"""Workers that may be lost in one cell, or one after the other before they hold the model."""

_AGAIN = 0.2
"""Seconds after which it is asked again whether to stop."""
_SILENCE = 30
"""Seconds without an answer, or any worker, after which it is said what is waited for."""
_PORT = 10001
"""Where a cluster is joined from outside, if the address names no other port."""

_LOG = logging.getLogger(__name__)


@contextmanager
def joined(
    on: str,
    model: object,
    *,
    workers: int | None = None,
    lora: str | None = None,
    lora_scale: float = 1.0,
    device: str | None = None,
    **options: Any,
) -> Iterator[Remote]:
    """A model whose cells are made on a Ray cluster while the block lasts.

    Args:
        on: `ray` joins the cluster of `RAY_ADDRESS`, or one that runs on this machine, or starts
            one here; `ray://HOST:10001` joins another one from outside. In a process that has
            joined one already, that is used.
        model: known name, folder or Hub name. A path has to be readable on every machine.
        workers: at most; None takes as many as the cluster has room for.
        lora, lora_scale: as `loras.attach`. device: `cpu` takes no GPUs, `cuda` nothing else; None
            takes GPUs where there are some. options: of `loading.load`.

    Raises:
        ClusterError: Ray is not there, the cluster cannot be reached or has no room, a model that
            is loaded already, or workers that are not alike or are lost again and again.
        CheckpointError: as `loading.load` and `loras.attach`, here or on a worker.
    """
    if not isinstance(model, str | Path):
        raise ClusterError(
            f"a {type(model).__name__} in memory cannot be sent to a cluster; give the name of a "
            "checkpoint, or a folder that its machines can read"
        )
    if workers is not None and workers < 1:
        raise ClusterError("a cluster job needs at least one worker")
    import torch

    threads = torch.get_num_threads()
    asked = Asked(
        model=_anywhere(str(model)),
        lora=lora if lora is None or lora in loras.shipped() else _anywhere(lora),
        lora_scale=lora_scale,
        options={
            name: _anywhere(value) if name == "upscaler" and value else value
            for name, value in options.items()
        },
        threads=threads,
    )
    with _session(on) as ray:
        members = Workers(ray, asked, workers, device)
        try:
            here = options | {"offload": None, "device": "cpu", "dtype": members.facts.dtype}
            loaded = loading.load(model, **here)
            if lora:
                loaded = loras.attach(loaded, lora, lora_scale)
            if loaded.digest != members.facts.digest:
                raise ClusterError(
                    f"{model} has other weights on {members.facts.host} than here; give all "
                    "machines the same files"
                )
            parts = {one.name: getattr(loaded, one.name) for one in fields(Model)}
            yield Remote(**parts, workers=members)
        finally:
            members.close()


def _anywhere(name: str) -> str:
    """A name that means the same in another folder: a path from the root."""
    short = any(entry.name == name for entry in known.KNOWN)
    return name if short or not Path(name).exists() else str(Path(name).resolve())


@contextmanager
def _session(on: str) -> Iterator[Any]:
    """Ray, connected; disconnected at the end unless it was before."""
    if on != "ray" and not on.startswith("ray://"):
        raise ClusterError(
            f"there is no place {on!r} to run on; write ray, or ray://HOST:10001 for the cluster "
            "of that machine"
        )
    missing = "Ray is not installed; run `pip install textloc[cluster]`"
    try:
        import ray
    except ImportError as error:
        raise ClusterError(missing) from error
    if ray.is_initialized():
        yield ray
        return
    where = on if on != "ray" else os.environ.get("RAY_ADDRESS", "")
    _check_there(where)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # of a cluster that is started here
    try:
        ray.init(None if on == "ray" else on, log_to_driver=False, logging_level=logging.ERROR)
    except ImportError as error:
        raise ClusterError(missing) from error
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        why = " ".join(str(error).split())[:200].rstrip(".")
        raise ClusterError(
            f"cannot join {where or 'a cluster on this machine'} ({why}); see there with `ray "
            "status` that it runs, with the same versions of Python and Ray as here"
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_there(where: str) -> None:
    """Check that something listens at an address; Ray would try for ten minutes."""
    address = urlsplit(where if "//" in where else f"//{where}")
    if not address.hostname or where == "auto":
        return  # Ray looks for a cluster, or starts one
    try:
        port = address.port or _PORT
        socket.create_connection((address.hostname, port), _SILENCE).close()
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"nothing answers at {where} ({error}); start a cluster there (`ray start --head`), or "
            "name another one by --on ray://HOST:10001 or RAY_ADDRESS"
        ) from error


@dataclass
class Remote(Model):
    """A checkpoint whose cells are made by workers; what is loaded here is for planning.

    workers: who makes them.
    """

    workers: Workers = field(kw_only=True)

    @property
    def device(self) -> str:
        """Where a worker has it."""
        return self.workers.facts.device

    def rows_that_fit(self, sampling: Sampling) -> int:
        """Rows of one call that should fit into the memory that is free at a worker; at least 1."""
        return self.workers.rows(sampling)


def environment(model: Model, reader: dict[str, str] | None) -> dict[str, Any]:
    """`provenance.describe` where the model's cells are made. reader: the OCR engine."""
    if not isinstance(model, Remote):
        return provenance.describe(model.device, reader)
    return model.workers.facts.environment | ({} if reader is None else {"ocr": reader})


@dataclass(eq=False)
class Task:
    """A call of a worker's method.

    arrived: called with what it came to, once. value, error: what it came to, where it is `done`.
    lost: workers that were lost in it.
    """

    method: str
    arguments: tuple[Any, ...]
    arrived: Callable[[Any], None] = lambda _value: None
    value: Any = None
    error: BaseException | None = None
    done: bool = False
    lost: int = 0


@dataclass(eq=False)
class _Member:
    """A worker: its actor, whether it holds the model, and what it does now."""

    actor: Any
    ready: bool = False
    task: Task | None = None
    answer: Any = None


class Workers:
    """The workers of one job.

    Raises:
        ClusterError: no room in the cluster. Others as `joined`, from the first worker.
    """

    def __init__(self, ray: Any, asked: Asked, count: int | None, device: str | None) -> None:
        self._ray = ray
        self._facts: Facts | None = None
        every = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        gpus = int(sum(node.get("GPU", 0) for node in every))
        on_gpus = device != "cpu" and (gpus > 0 or device is not None)
        options = {**asked.options, "device": (device or "cuda") if on_gpus else "cpu"}
        self._asked = Asked(**{**vars(asked), "options": options})
        if on_gpus:
            room, self._beside = gpus, 1
            self._needs: dict[str, Any] = {"num_gpus": 1, "num_cpus": 1}
            what = "a GPU"
        else:
            fit = [int(node.get("CPU", 0)) // asked.threads for node in every]
            room, self._beside = sum(fit), max([1, *fit])
            self._needs = {"num_cpus": asked.threads}
            what = f"{asked.threads} CPUs, one for each thread of torch here (OMP_NUM_THREADS)"
        if not room and count is None:
            raise ClusterError(
                f"no machine of the cluster has what a worker needs: {what}; see `ray status`"
            )
        self.count = count or room
        self._beside = min(self._beside, self.count)
        self._actor = ray.remote(Worker).options(**self._needs, scheduling_strategy="SPREAD")
        self._waiting: deque[Task] = deque()
        self._lost = 0
        self._rows: dict[Any, int] = {}
        self._members = [_Member(self._actor.remote()) for _ in range(self.count)]
        for member in self._members:
            self._load(member)
        began, told = time.monotonic(), False
        try:
            while self._facts is None:
                self._look()
                if not told and time.monotonic() - began > _SILENCE:
                    told = True
                    _LOG.warning("textloc: waiting for a worker; each needs %s, and loads", what)
        except BaseException:
            self.close()
            raise

    @property
    def facts(self) -> Facts:
        """Of the first worker that held the model; the others are like it."""
        assert self._facts is not None
        return self._facts

    # -- tasks -----------------------------------------------------------------------------

    @property
    def full(self) -> bool:
        """Whether enough is begun that every worker has another task when its own is done."""
        begun = sum(one.ready and one.task is not None for one in self._members)
        return begun + len(self._waiting) >= 2 * self.count

    def begin(
        self,
        method: str,
        *arguments: Any,
        arrived: Callable[[Any], None] = lambda _value: None,
        first: bool = False,
    ) -> Task:
        """Have a worker's method called; `first` before all that waits."""
        task = Task(method, arguments, arrived)
        self._waiting.insert(0 if first else len(self._waiting), task)
        self._look(0)
        return task

    def wait(self, task: Task, cancelled: Callable[[], bool] = lambda: False) -> Any:
        """What a task came to.

        Raises:
            Cancelled: `cancelled` said so. ClusterError: too many workers were lost. Else what the
            method raised.
        """
        while not task.done:
            if cancelled():
                raise Cancelled("stopped; what was finished before is kept")
            self._look()
        if task.error is not None:
            raise task.error
        return task.value

    def forget(self, tasks: Sequence[Task]) -> None:
        """Tasks that nobody waits for any more; what is done already goes on to its end."""
        self._waiting = deque(task for task in self._waiting if task not in tasks)

    def rows(self, sampling: Sampling) -> int:
        """Rows of one call that should fit into a worker's memory; at least 1."""
        size = call_size(sampling)
        if size not in self._rows:
            asked = self.begin("rows", sampling, self._beside, first=True)
            self._rows[size] = self.wait(asked)
        return self._rows[size]

    def fits(self, rows: int, sampling: Sampling) -> bool:
        """Whether a call of so many rows could fit into a worker's memory."""
        task = self.begin("fits", rows, sampling, self._beside, first=True)
        return bool(self.wait(task))

    def close(self) -> None:
        """End the workers."""
        self._waiting.clear()
        for member in self._members:
            self._kill(member)
        self._members.clear()

    # -- workers ---------------------------------------------------------------------------

    def _look(self, seconds: float = _AGAIN) -> None:
        """Hand out what waits, and take what is done; wait for that so long at most."""
        for member in self._members:
            if member.ready and member.task is None and self._waiting:
                self._give(member, self._waiting.popleft())
        working = {one.answer: one for one in self._members if one.task is not None}
        if not working:
            time.sleep(seconds)
            return
        answered = []
        with suppress(ConnectionError):
            if self._ray.is_initialized():  # Ray would begin a cluster of its own
                answered, _ = self._ray.wait(list(working), timeout=seconds)
        if not self._ray.is_initialized():
            raise ClusterError(
                "the connection to the cluster is lost; what was finished is kept, and the same "
                "command goes on from there"
            )
        for answer in answered:
            self._take(working[answer])

    def _give(self, member: _Member, task: Task) -> None:
        member.task = task
        member.answer = getattr(member.actor, task.method).remote(*task.arguments)

    def _take(self, member: _Member) -> None:
        errors = self._ray.exceptions
        task = member.task
        assert task is not None
        try:
            task.value = self._ray.get(member.answer)
        except errors.RayTaskError as error:  # what the method raised
            task.error = error.cause if isinstance(error.cause, TextlocError) else error
            if isinstance(error.cause, ImportError):
                task.error = ClusterError(
                    f"a worker misses a package ({error.cause}); install textloc with all that it "
                    "needs on every machine of the cluster"
                )
        except errors.RayError as error:  # the worker, its machine, or what it had made
            self._replace(member, task, error)
            return
        member.task = None
        task.done = True
        if task.error is None:
            task.arrived(task.value)
        elif not member.ready:  # it does not load, and no other would
            raise task.error

    def _kill(self, member: _Member) -> None:
        with suppress(ConnectionError, self._ray.exceptions.RayError):  # it is gone already
            if self._ray.is_initialized():
                self._ray.kill(member.actor)

    def _load(self, member: _Member) -> None:
        def holds(facts: Facts) -> None:
            self._check(facts)
            member.ready = True
            self._lost = 0

        self._give(member, Task("load", (self._asked,), holds))

    def _check(self, facts: Facts) -> None:
        """Check that a worker is of the kind of the first."""
        if self._facts is None:
            if facts.code != made_by.code():
                raise ClusterError(
                    f"{facts.host} has another version of textloc; install the one that runs here "
                    "on every machine of the cluster"
                )
            self._facts = facts
        elif (said := _differ(self.facts, facts)) is not None:
            raise ClusterError(
                f"{self.facts.host} and {facts.host} differ ({said}), so pictures would depend on "
                "which of them made which; run on machines of one kind with the same versions"
            )

    def _replace(self, member: _Member, task: Task, error: BaseException) -> None:
        """Put another worker in the place of one that is lost, and its task before all others."""
        why = _reason(str(error))
        self._kill(member)
        if member.ready:
            _LOG.warning("textloc: a worker is lost (%s); its cell is made by another", why)
            task.lost += 1
            if task.lost == TRIES:
                task.done = True
                task.error = ClusterError(
                    f"{TRIES} workers were lost in the same cell ({why}); give them more memory, "
                    "or see the logs of Ray on their machines (`ray logs`)"
                )
            else:
                self._waiting.appendleft(task)
        else:
            self._lost += 1
            if self._lost == TRIES:
                raise ClusterError(
                    f"{TRIES} workers were lost before they held the model ({why}); see that "
                    "textloc runs on every machine of the cluster and has memory for the model"
                )
        fresh = _Member(self._actor.remote())
        self._members[self._members.index(member)] = fresh
        self._load(fresh)


def _differ(one: Facts, other: Facts) -> str | None:
    """The first thing in which two workers differ that decides what they make."""
    if one.digest != other.digest:
        return "the weights"
    return _apart(one.made_by, other.made_by)


def _apart(one: Any, other: Any, name: str = "the pipeline") -> str | None:
    if one == other:
        return None
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in {**one, **other}:
            if (found := _apart(one.get(key), other.get(key), str(key))) is not None:
                return found
    short = all(isinstance(value, str | int | float | None) for value in (one, other))
    return f"{name}: {one} and {other}" if short else name


def _reason(said: str) -> str:
    """Why a worker is lost, of what Ray says."""
    lines = [" ".join(line.split()) for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if "Error: " in line]
    details = [line.partition("exit detail: ")[2] for line in lines if "exit detail: " in line]
    found = [*lines[:1], *details, *errors]
    return found[-1].partition(". ")[0][:200].rstrip(".") if found else "no reason given"
