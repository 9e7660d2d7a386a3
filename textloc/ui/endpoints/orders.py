"""What the endpoints that run something ask for, by the checks of the forms.

Raises `TextlocError`s: a value cannot be right, whatever the model.
"""

from typing import Any

from textloc.errors import PromptError
from textloc.prompts import parse_pair
from textloc.toxicity import entries
from textloc.ui.edit import order as edits
from textloc.ui.endpoints import values
from textloc.ui.endpoints.answers import PICTURES
from textloc.ui.endpoints.shares import SharesOrder
from textloc.ui.fields import check_call, check_seeds
from textloc.ui.localize import order as localizations
from textloc.ui.suppress import order as suppressions


def localize(
    source: Any,
    target: Any,
    model: Any,
    seeds: Any,
    steps: Any,
    guidance: Any,
    start_step: Any,
    layers: Any,
    pictures: Any,
) -> localizations.LocalizeOrder:
    """The localization that is asked for."""
    which(pictures)
    prompts = values.text(source, "source prompt"), values.text(target, "target prompt")
    call = values.number(steps, "number of steps"), values.number(guidance, "guidance")
    start = values.number(start_step, "start step")
    layer = values.text(layers, "layers")
    return localizations.read(
        values.model(model), *prompts, values.seeds(seeds), *call, start, layer
    )


def attribute(
    source: Any, target: Any, model: Any, seeds: Any, steps: Any, guidance: Any
) -> SharesOrder:
    """The attribution that is asked for."""
    prompts = values.text(source, "source prompt"), values.text(target, "target prompt")
    call = values.number(steps, "number of steps"), values.number(guidance, "guidance")
    name, numbers = values.model(model), check_seeds(values.seeds(seeds))
    return SharesOrder(name, parse_pair(*prompts), numbers, *check_call(*call))


def edit(
    source: Any,
    target: Any,
    picture: Any,
    model: Any,
    layers: Any,
    start_step: Any,
    seeds: Any,
    methods: Any,
    steps: Any,
    guidance: Any,
    pictures: Any,
) -> edits.EditOrder:
    """The edit that is asked for."""
    which(pictures)
    prompts = values.text(source, "source prompt"), values.text(target, "target prompt")
    call = values.number(steps, "number of steps"), values.number(guidance, "guidance")
    named = values.some_of(methods, "method", tuple(name for _, name in edits.METHODS))
    start = values.number(start_step, "start step")
    return edits.read(
        model=values.model(model),
        source=prompts[0],
        target=prompts[1],
        picture=values.picture(picture),
        seeds=values.seeds(seeds),
        methods=named,
        start_step="auto" if start is None else f"{start:g}",
        layers=values.text(layers, "layers"),
        steps=call[0],
        guidance=call[1],
    )


def suppress(
    prompt: Any,
    replacement: Any,
    words: Any,
    model: Any,
    methods: Any,
    check: Any,
    fallback: Any,
    seeds: Any,
    layers: Any,
    steps: Any,
    guidance: Any,
    pictures: Any,
    strictness: Any,
    languages: Any,
) -> suppressions.SuppressOrder:
    """The suppression that is asked for."""
    which(pictures)
    more = values.texts(words, "words")
    if any("," in word or "\n" in word for word in more):
        raise PromptError("a word to keep out has no comma and no line break in it")
    call = values.number(steps, "number of steps"), values.number(guidance, "guidance")
    named = values.some_of(methods, "method", tuple(name for _, name in suppressions.METHODS))
    falls = tuple(name for _, name in suppressions.FALLBACKS)
    strict = tuple(name for _, name in suppressions.STRICTNESS)
    return suppressions.read(
        model=values.model(model),
        prompt=values.text(prompt, "prompt"),
        replacement=values.text(replacement, "replacement"),
        words=",".join(more),
        methods=named,
        check=values.flag(check, "check", True),
        fallback=values.one_of(fallback, "fallback", falls, "more-layers"),
        seeds=values.seeds(seeds),
        layers=values.text(layers, "layers"),
        steps=call[0],
        guidance=call[1],
        strictness=values.one_of(strictness, "strictness", strict, "usual"),
        languages=values.some_of(languages, "language", entries.languages()),
    )


def which(pictures: Any) -> str:
    """Which pictures come with the answer."""
    return values.one_of(pictures, "choice of pictures", PICTURES, "shown")
