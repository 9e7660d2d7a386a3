"""Edits of pictures that the checkpoint did not make: rendered scenes with words it never saw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from textloc.checkpoints.loading import load
from textloc.jobs import choosing
from textloc.jobs.edit import edit_stream
from textloc.prompts import parse_pair
from textloc.scenes import rendering
from textloc.tiny import evaluate


def measure(
    checkpoint: str | Path,
    words: Sequence[str],
    *,
    layers: str = "auto",
    start_step: int | None = None,
    methods: Sequence[str] = (),
    on_image: Callable[[int], None] = lambda _count: None,
) -> dict[str, Any]:
    """Render a scene for every word and change the word to the next one.

    Returns:
        The edit document (`editing.edit_stream`).

    Raises:
        PromptError, LayerError, CheckpointError.
    """
    model = load(checkpoint)
    asked = evaluate.ask(list(words), "plain")
    pairs = [
        parse_pair(scene.prompt, other.word)
        for scene, other in zip(asked, [*asked[1:], asked[0]], strict=True)
    ]
    chosen, origin = choosing.choose(model, layers, pairs)
    event = None
    for event in edit_stream(
        model,
        pairs,
        chosen,
        layers_from=origin,
        start_step=start_step,
        methods=methods,
        pictures=[rendering.render(scene) for scene in asked],
    ):
        on_image(event.done)
    assert event is not None
    return event.document
