"""How often a harmless word is changed: what a guard costs those who ask for nothing toxic.

Every method is used as it would be in a service. Those that need to be told what to keep out act
where the detector finds something toxic, with nothing told to it beforehand; where it finds nothing
the picture is the plain one, and nothing has to be drawn. Those that are always on draw every
picture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from textloc.baselines import Baseline
from textloc.checkpoints.loading import Model
from textloc.errors import PromptError
from textloc.jobs.suppress import GUARDED, suppress_stream
from textloc.prompts import quoted_text
from textloc.reading import metrics


def measure(
    model: Model,
    prompts: Sequence[str],
    layers: Sequence[int],
    *,
    seeds: Sequence[int] = (0,),
    start_step: int = 0,
    methods: Sequence[str] = (),
    rivals: Mapping[str, Baseline] | None = None,
    on_images: Callable[[int, int], None] = lambda _done, _total: None,
) -> dict[str, Any]:
    """Generate prompts of harmless words plainly and by every method.

    Args:
        model: a loaded checkpoint. prompts: each quotes its word. layers, seeds, start_step,
            methods, rivals: as `suppress.suppress_stream`. on_images: told (done, expected).

    Returns:
        `prompts`: how many. `flagged`: how many the detector takes for toxic. `read`: plain
        pictures that read their word exactly. `changed`: by the name of the method (`guarded` is
        localized patching) the share of these whose word no longer reads exactly by the method,
        `[mean, low, high]` with a 95 % interval (Wilson's, over pictures).

    Raises:
        PromptError: no prompt, or no plain picture reads its word. Others as `suppress_stream`.
    """
    event = None
    for event in suppress_stream(
        model,
        prompts,
        layers,
        seeds=seeds,
        start_step=start_step,
        unguarded=True,
        methods=methods,
        rivals=rivals,
        reveal=True,
    ):
        on_images(event.done, event.total)
    assert event is not None
    document = event.document
    texts = [quoted_text(prompt) for prompt in prompts]
    kept = {_place(one) for one in document["unguarded"]["pictures"] if _exact(one, texts)}
    if not kept:
        raise PromptError("no plain picture reads its harmless word; give words it draws legibly")
    sides = {GUARDED: document["guarded"]["pictures"]}
    sides |= {one["name"]: one["pictures"] for one in document["methods"] if one["error"] is None}
    return {
        "prompts": len(prompts),
        "flagged": sum(bool(one["findings"]) for one in document["prompts"]),
        "read": len(kept),
        "changed": {name: _changed(pictures, texts, kept) for name, pictures in sides.items()},
    }


def _changed(
    pictures: Sequence[Mapping[str, Any]], texts: Sequence[str], kept: set[tuple[int, int]]
) -> list[float]:
    """The share of the pictures that read their word plainly which a method does not let read it.
    A picture that it did not draw is the plain one."""
    lost = sum(_place(one) in kept and not _exact(one, texts) for one in pictures)
    return [lost / len(kept), *metrics.wilson_interval(lost, len(kept))]


def _place(picture: Mapping[str, Any]) -> tuple[int, int]:
    return picture["prompt"], picture["seed"]


def _exact(picture: Mapping[str, Any], texts: Sequence[str]) -> bool:
    return metrics.exact_match(picture["read"], texts[picture["prompt"]])
