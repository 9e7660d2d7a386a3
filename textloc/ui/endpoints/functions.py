"""The endpoints. Their docstrings are what the page of the API and MCP clients show."""

from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from textloc.errors import PromptError, TextlocError
from textloc.results import store
from textloc.ui import fields, limits, live, visitors
from textloc.ui.endpoints import answers, orders, running, values
from textloc.ui.endpoints.answers import Answer
from textloc.ui.endpoints.reading import ReadOrder

# The types are what callers are told; what arrives is any JSON, and `orders` and `values` check it.


def localize(
    source: str,
    target: str,
    model: str = "tiny-sdxl",
    seeds: list[int] = [0],  # noqa: B006
    steps: int | None = None,
    guidance: float | None = None,
    start_step: int = 0,
    layers: str = "",
    pictures: str = "shown",
    request: gr.Request | None = None,
) -> Iterator[Answer]:
    """Find the text layers of a text-to-image model that write the words of its pictures.

    The answer's `document` names the chosen layers as `selected`, the share of every layer in the
    change as `shares`, and what was read in each picture. It is streamed as it grows.

    Args:
        source: prompt that quotes the word to be written, such as: a red sign that says "STOP"
        target: the same prompt with another word, or that word alone, such as: LOVE
        model: a known checkpoint (tiny-sdxl, tiny-ldm, tiny-sd3, tiny-if, ...) or a Hub name
        seeds: up to 16 noise seeds; the pair is run with each
        steps: denoising steps; null takes the checkpoint's usual number
        guidance: guidance scale; null takes the checkpoint's usual one
        start_step: patch from this denoising step on, from 0
        layers: layers that the set is made of, such as 0,3,7-9; empty takes all
        pictures: which pictures come with the answer: shown (the main ones), all or none
    """
    asked = (source, target, model, seeds, steps, guidance, start_step, layers, pictures)
    yield from _run(lambda: orders.localize(*asked), pictures, request)


def attribute(
    source: str,
    target: str,
    model: str = "tiny-sdxl",
    seeds: list[int] = [0],  # noqa: B006
    steps: int | None = None,
    guidance: float | None = None,
    request: gr.Request | None = None,
) -> Iterator[Answer]:
    """Give every text layer, head, step and letter its share of what another word changes.

    Takes seconds and makes no picture. The answer's `document` has `shares`, each as [mean, low,
    high]. A large share does not say that the layer is enough alone: `localize` tells that.

    Args:
        source: prompt that quotes the word to be written, such as: a red sign that says "STOP"
        target: the same prompt with another word, or that word alone, such as: LOVE
        model: a known checkpoint (tiny-sdxl, tiny-ldm, tiny-sd3, tiny-if, ...) or a Hub name
        seeds: up to 16 noise seeds
        steps: denoising steps; null takes the checkpoint's usual number
        guidance: guidance scale; null takes the checkpoint's usual one
    """
    asked = (source, target, model, seeds, steps, guidance)
    yield from _run(lambda: orders.attribute(*asked), "none", request)


def edit(
    source: str,
    target: str,
    picture: dict[str, Any] | None = None,
    model: str = "tiny-sdxl",
    layers: str = "auto",
    start_step: int | None = None,
    seeds: list[int] = [0],  # noqa: B006
    methods: list[str] = [],  # noqa: B006
    steps: int | None = None,
    guidance: float | None = None,
    pictures: str = "shown",
    request: gr.Request | None = None,
) -> Iterator[Answer]:
    """Change the words of a picture and leave the rest as it is.

    The picture is generated from the source prompt, or is one's own. The answer's `document` names
    each picture and what is read in it as `edits`.

    Args:
        source: prompt that quotes the word in the picture, such as: a red sign that says "STOP"
        target: the new word, such as: LOVE
        picture: one's own picture, which the source prompt describes; null generates one
        model: a known checkpoint (tiny-sdxl, tiny-ldm, tiny-sd3, tiny-if, ...) or a Hub name
        layers: layers to patch, such as 7-9; auto takes the localized ones of this model
        start_step: patch from this step on, from 0; null looks for the latest that still works
        seeds: up to 16 noise seeds
        methods: to compare with: prompt-swap, regenerate, inpainting, prompt-to-prompt
        steps: denoising steps; null takes the checkpoint's usual number
        guidance: guidance scale; null takes the checkpoint's usual one
        pictures: which pictures come with the answer: shown (the main ones), all or none
    """
    asked = (source, target, picture, model, layers, start_step, seeds, methods, steps, guidance)
    yield from _run(lambda: orders.edit(*asked, pictures), pictures, request)


def suppress(
    prompt: str,
    replacement: str = "",
    words: list[str] = [],  # noqa: B006
    model: str = "tiny-sdxl",
    methods: list[str] = [],  # noqa: B006
    check: bool = True,
    fallback: str = "more-layers",
    seeds: list[int] = [0],  # noqa: B006
    layers: str = "auto",
    steps: int | None = None,
    guidance: float | None = None,
    pictures: str = "shown",
    strictness: str = "usual",
    languages: list[str] = [],  # noqa: B006
    request: gr.Request | None = None,
) -> Iterator[Answer]:
    """Generate a prompt without the toxic words that it asks to be written.

    Toxic words stand masked in the answer, and the result is not stored. Its `document` names each
    picture and what is read in it as `guarded`.

    Args:
        prompt: the prompt, such as: a red sign that says "LOSER"
        replacement: what is written in the place of a toxic word; empty leaves it to a rule
        words: more words to keep out
        model: a known checkpoint (tiny-sdxl, tiny-ldm, tiny-sd3, tiny-if, ...) or a Hub name
        methods: to compare with: negative-prompt, safe-latent-diffusion, prompt-swap
        check: whether the pictures are read, and `fallback` is done where a toxic word still reads
        fallback: refuse (withhold the picture), more-layers or prompt-swap
        seeds: up to 16 noise seeds
        layers: layers that read the benign text, such as 7-9; auto takes the localized ones
        steps: denoising steps; null takes the checkpoint's usual number
        guidance: guidance scale; null takes the checkpoint's usual one
        pictures: which pictures come with the answer: shown (the guarded ones), all or none
        strictness: which words are kept out: strict (every listed word), usual (but for those in
            harmless company) or slurs (slurs only)
        languages: whose lists of words are read, such as english or polish; empty reads English and
            those of the script that the prompt is written in
    """
    asked = (prompt, replacement, words, model, methods, check, fallback, seeds, layers)
    more = (steps, guidance, pictures, strictness, languages)
    yield from _run(lambda: orders.suppress(*asked, *more), pictures, request)


def read(
    picture: dict[str, Any], engine: str = "auto", request: gr.Request | None = None
) -> Answer:
    """Read the words in a picture (OCR).

    Args:
        picture: the picture: an uploaded file, or a data: address
        engine: rapidocr, easyocr or auto

    Returns:
        The `text`, the `engine` and its `version`, and `boxes`: the `text`, `score` and four
        corners (`polygon`, x and y in pixels) of each piece.
    """
    try:
        order = ReadOrder(*check_read(picture, engine))
    except TextlocError as error:
        raise running.refusal(error) from error
    return running.read(order, _visitor(request))


def check_read(picture: Any, engine: Any) -> tuple[Any, str]:
    """The picture and the name of the engine."""
    asked = values.picture(picture)
    if asked is None:
        raise PromptError("there is no picture; upload one")
    offered = tuple(name for _, name in fields.engines())
    return asked, values.one_of(engine, "OCR engine", offered, "auto")


def list_results(kind: str = "", request: gr.Request | None = None) -> list[Answer]:
    """List the stored results, the newest first.

    Args:
        kind: localize, attribute, edit or lora; empty lists all

    Returns:
        For each its `id`, `kind`, `title`, `model`, when it was `created` (seconds since 1970) and
        the `link` that opens it in the page.
    """
    try:
        (wanted,) = check_list(kind)
    except TextlocError as error:
        raise running.refusal(error) from error
    page, only = answers.page_of(request), f"textloc.{wanted}" if wanted else None
    return [answers.summary(page, one) for one in store.listing(only=only) if not one.damaged]


def check_list(kind: Any) -> tuple[str]:
    """The kind that is listed, or an empty text."""
    asked = values.text(kind, "kind of result")
    return (values.one_of(asked, "kind of result", answers.KINDS, "") if asked else "",)


def get(id: str, pictures: str = "shown", request: gr.Request | None = None) -> Answer:
    """Give a stored result by its ID: its document, what it says, its link and its pictures.

    Args:
        id: 16 characters, as `list` and the links of the page (r=...) have them
        pictures: which pictures come with the answer: shown (the main ones), all or none
    """
    try:
        return answers.of_stored(answers.page_of(request), *check_get(id, pictures))
    except TextlocError as error:
        raise running.refusal(error) from error


def check_get(id: Any, pictures: Any) -> tuple[str, str]:
    """ID and choice of pictures; whether there is such a result is seen when it is loaded."""
    return store.check_id(values.text(id, "ID").strip()), orders.which(pictures)


def _run(
    order: Callable[[], live.Order], pictures: Any, request: gr.Request | None
) -> Iterator[Answer]:
    try:
        asked, which = order(), orders.which(pictures)
    except TextlocError as error:
        raise running.refusal(error) from error
    yield from running.run(asked, answers.page_of(request), which, _visitor(request))


def _visitor(request: gr.Request | None) -> limits.Visitor | None:
    return visitors.of(request) if request is not None and request.client else None
