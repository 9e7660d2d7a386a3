"""textloc: find, see and use the layers of a text-to-image model that write the words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textloc.version import __version__ as __version__

if TYPE_CHECKING:
    from pathlib import Path

    from textloc.checkpoints.loading import Model
    from textloc.jobs.job import Event


def edit(
    model: str | Path | Model, source: str, target: str, *, layers: str = "auto", **options: Any
) -> Event:
    """Change the words of a picture (`editing.edit_stream` to its end).

    Args:
        model: known name, folder, Hub name, or a loaded `loading.Model`.
        source: prompt of the picture. target: the same with other words, or the new word alone.
        layers: numbers such as `55-57`, `all`, or `auto` (`choosing.choose`).
        options: of `editing.edit_stream`: seeds, start_step, methods, pictures and others.

    Returns:
        The last event: its `document` says what was done and measured, `images` holds the pictures
        by the keys that the document names.

    Raises:
        TextlocError: of the kinds that `editing.edit_stream` and `choosing.choose` raise.
    """
    from textloc.checkpoints import loading
    from textloc.jobs import choosing
    from textloc.jobs.edit import edit_stream
    from textloc.prompts import parse_pair

    pairs = [parse_pair(source, target)]
    loaded = loading.load(model)
    chosen, origin = choosing.choose(loaded, layers, pairs, options.get("ocr", "auto"))
    *_, last = edit_stream(loaded, pairs, chosen, layers_from=origin, **options)
    return last


def suppress(
    model: str | Path | Model, prompt: str | list[str], *, layers: str = "auto", **options: Any
) -> Event:
    """Generate prompts without the toxic words that they ask for (`suppressing.suppress_stream` to
    its end).

    Args:
        model: known name, folder, Hub name, or a loaded `loading.Model`.
        prompt: one or several; clean ones come out as they would.
        layers: as `edit`.
        options: of `suppressing.suppress_stream`: seeds, replacements, check, fallback, methods and
            others.

    Returns:
        The last event, as `edit`.

    Raises:
        TextlocError: of the kinds that `suppressing.suppress_stream` and `choosing.choose` raise.
    """
    from textloc.checkpoints import loading
    from textloc.jobs import choosing
    from textloc.jobs.suppress import suppress_stream

    prompts = [prompt] if isinstance(prompt, str) else list(prompt)
    loaded = loading.load(model)
    chosen, origin = choosing.choose(loaded, layers, [], options.get("ocr", "auto"))
    *_, last = suppress_stream(loaded, prompts, chosen, layers_from=origin, **options)
    return last


def __getattr__(name: str) -> Any:
    """`textloc.guard` is that of `guarding`, which loads when it is first asked for."""
    if name == "guard":
        from textloc.jobs.guard import guard

        return guard
    raise AttributeError(f"module 'textloc' has no attribute {name!r}")
