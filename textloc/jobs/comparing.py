"""The same by other methods: one that fails costs its own pictures, and nothing else.

What can be told before anything is generated is told then; what shows only in the call is kept as
the method's error, and the other methods go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from textloc.baselines import Baseline
from textloc.checkpoints.loading import Model
from textloc.errors import CheckpointError, LayerError, OutOfMemoryError, PromptError
from textloc.jobs.job import Event, Job
from textloc.runs import Run, Sampling

_TOLD = (CheckpointError, LayerError, OutOfMemoryError, PromptError)


def refused(methods: Mapping[str, Baseline], model: Model, sampling: Sampling) -> dict[str, str]:
    """The methods that this checkpoint's call does not take, each with the reason."""
    found = {}
    for name, method in methods.items():
        try:
            method.check(model, sampling)
        except _TOLD as error:
            found[name] = str(error)
    return found


def compared(
    job: Job,
    methods: Mapping[str, Baseline],
    errors: dict[str, str],
    runs: Callable[[str], Mapping[str, Run]],
) -> Iterator[Event]:
    """Generate the pictures of methods by name.

    Args:
        errors: reasons of methods that fail, by name; those that are there are left out, and others
            are added. runs: the runs of a method, by the keys of their pictures.
    """
    for name, method in methods.items():
        if name in errors:
            continue
        job.message = f"the same by {method.TITLE.lower()}"
        try:
            yield from job.generate(name, runs(name))
        except _TOLD as error:
            errors[name] = str(error)
