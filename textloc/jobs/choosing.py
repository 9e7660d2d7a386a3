"""Which layers write the words of a checkpoint, as far as is known here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from textloc.checkpoints import known
from textloc.checkpoints.loading import Model
from textloc.errors import LayerError, StoreError
from textloc.jobs.localize import localize_stream
from textloc.layers import display_layers, parse_layers
from textloc.paths import SHIPPED_RESULTS
from textloc.prompts import Pair
from textloc.results import store
from textloc.results.judging import doubt

_ALIKE = "as in "


def layers_of(model: Model) -> tuple[tuple[int, ...], str] | None:
    """`layers_known` of a loaded checkpoint; with a LoRA, else of the checkpoint without it."""
    found = layers_known(model.name, model.digest, model.architecture)
    if model.lora is None or (found is not None and found[1].startswith("stored:")):
        return found
    return layers_known(model.name, model.lora.base, model.architecture)


def layers_known(
    name: str, digest: str | None, architecture: str | None = None
) -> tuple[tuple[int, ...], str] | None:
    """The localized layers of a checkpoint and where they come from.

    Those of a stored localization with the same weights, kept here or else shipped: the one with
    most pictures among those that reach the share asked for, or among all where none does (`used`).
    Where there is none, the published ones of its name; else those of a published checkpoint of the
    same architecture.

    Args:
        name: known name, folder or Hub name. digest: `weights.digest` of its weights, or None.
        architecture: `families.architecture` of its denoiser, or None.

    Returns:
        The layers, and `stored:<id>`, `published` or `as in <name>` (`told` says what that means);
        None where nothing is known.
    """
    found = _stored(digest) or _stored(digest, SHIPPED_RESULTS)
    if found is not None:
        return found
    entry = known.find(name)
    if entry is not None and entry.localized:
        return entry.localized, "published"
    like = known.of_architecture(architecture) if architecture is not None else None
    if like is None or like.localized is None:
        return None
    return like.localized, f"{_ALIKE}{like.name}"


def _stored(digest: str | None, root: Path | None = None) -> tuple[tuple[int, ...], str] | None:
    """Those of the best stored localization in `root` (None: where results are kept)."""
    best: tuple[tuple[bool, int], tuple[int, ...], str] | None = None
    for summary in store.listing(root, only="textloc.localize"):
        asked = summary.request.get("checkpoint", {})
        if summary.damaged or asked.get("digest", digest) != digest:
            continue
        try:
            document = store.load(summary.id, root).document
        except StoreError:  # in a store that is away
            continue
        if document["checkpoint"]["digest"] != digest or not document["selected"]:
            continue
        if doubt(document) is not None:
            continue
        request = document["request"]
        pictures = len(request["pairs"]) * len(request["seeds"])
        worth = (bool(document["selection"]["reached"]), pictures)
        if best is None or worth > best[0]:
            best = (worth, used(document), f"stored:{summary.id}")
    return best[1:] if best is not None else None


def used(localization: Mapping[str, Any]) -> tuple[int, ...]:
    """The layers of a localization that other jobs use: the selected ones, or those that were grown
    from them where they fell short on all pairs (`Sweep.suffice`)."""
    return tuple(localization["selection"].get("used") or localization["selected"])


def told(layers: Sequence[int], origin: str) -> str:
    """Where chosen layers come from, as a sentence; empty where they were given."""
    numbers = display_layers(layers)
    if origin.startswith(_ALIKE):
        entry = known.find(origin.removeprefix(_ALIKE))
        about = entry.about if entry is not None else origin.removeprefix(_ALIKE)
        return (
            f"layers {numbers}, published for {about}, which has the same architecture; run "
            "`textloc localize --save` to be sure"
        )
    if origin == "published":
        return f"layers {numbers}, published for this checkpoint"
    if origin == "localized":
        return f"layers {numbers}, found by a quick localization"
    if origin.startswith("stored:"):
        return f"layers {numbers}, of the stored localization {origin.removeprefix('stored:')}"
    return ""


def choose(
    model: Model,
    asked: str,
    pairs: Sequence[Pair],
    engine: str = "auto",
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> tuple[tuple[int, ...], str]:
    """Read a choice of layers.

    Args:
        model: a loaded checkpoint. asked: numbers such as `55-57`, `all`, or `auto` (the same as
            `localized`): those of `layers_of`, else those of a quick localization on the first
            pair, if there is one. on_progress: called with pictures done and expected while that
            runs.

    Returns:
        The layers, and `given`, `stored:<id>`, `published`, `as in <name>` or `localized`.

    Raises:
        LayerError: cannot be read, or a quick localization finds no small set. Others as
        `localize_stream`.
    """
    if asked == "all":
        return tuple(range(len(model.layers))), "given"
    if asked not in ("auto", "localized"):
        return parse_layers(asked, len(model.layers)), "given"
    if (found := layers_of(model)) is not None:
        return found
    if not pairs:
        raise LayerError(
            f"the layers of {model.name} that write words are not known here; find them by "
            "`textloc localize --save`, or name them"
        )
    event = None
    options: dict[str, Any] = {"ocr": engine, "cancelled": cancelled}
    for event in localize_stream(model, pairs[:1], search="auto", **options):
        on_progress(event.done, event.total)
    assert event is not None
    if (why := doubt(event.document)) is not None:
        raise LayerError(f"{why} Take words that {model.name} draws legibly, or name the layers")
    if not event.document["selected"]:
        raise LayerError(
            f"no small set of layers of {model.name} changes the words of {pairs[0].source!r}; "
            "try another pair, or name the layers"
        )
    return used(event.document), "localized"
