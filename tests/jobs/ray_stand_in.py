"""A stand-in for Ray in this process: what is asked is pickled, and done when it is waited for."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any


class RayError(Exception):
    """A worker is lost."""


class RayTaskError(RayError):
    """What a method raised."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(str(cause))
        self.cause = cause


class Ray:
    """A cluster of one machine.

    lost: asked with a method and how often it was called before, whether its worker is lost in it.
    calls: how often each method was called, with what. open: actors that are not ended.
    """

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def __init__(
        self, cpus: int = 2, lost: Callable[[str, int], bool] = lambda _method, _before: False
    ) -> None:
        self.cpus, self.lost, self.waits = cpus, lost, 0
        self.calls: dict[str, Counter[bytes]] = {}
        self.open: set[Any] = set()

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": {"CPU": float(self.cpus)}}]

    def is_initialized(self) -> bool:
        return True

    def remote(self, kind: Any) -> Any:
        return SimpleNamespace(
            options=lambda **_: SimpleNamespace(remote=lambda: _Actor(self, kind))
        )

    def kill(self, actor: Any) -> None:
        self.open.discard(actor)

    def wait(self, answers: list[Any], timeout: float) -> tuple[list[Any], list[Any]]:
        """The last and the first in turn."""
        self.waits += 1
        one = answers[-(self.waits % 2)]
        return [one], [other for other in answers if other is not one]

    def get(self, answer: _Answer) -> Any:
        before = self.calls.setdefault(answer.method, Counter()).total()
        self.calls[answer.method][answer.arguments] += 1
        if answer.actor not in self.open or self.lost(answer.method, before):
            self.open.discard(answer.actor)
            raise RayError("The actor died.\nWorker exit detail: it was killed. Some causes are")
        try:
            found = getattr(answer.actor.held, answer.method)(*pickle.loads(answer.arguments))
        except Exception as error:
            raise RayTaskError(pickle.loads(pickle.dumps(error))) from None
        return pickle.loads(pickle.dumps(found))


class _Actor:
    def __init__(self, ray: Ray, kind: Any) -> None:
        self.held = kind()
        ray.open.add(self)

    def __getattr__(self, method: str) -> Any:
        return SimpleNamespace(
            remote=lambda *arguments: _Answer(self, method, pickle.dumps(arguments))
        )


class _Answer:
    def __init__(self, actor: _Actor, method: str, arguments: bytes) -> None:
        self.actor, self.method, self.arguments = actor, method, arguments
