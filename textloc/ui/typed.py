"""What is said of a prompt while one types it, and examples to begin with; no torch."""

import re
from collections.abc import Sequence
from functools import lru_cache
from html import escape
from pathlib import Path

from textloc.checkpoints.known import find
from textloc.checkpoints.spelling import Spelling, advice, read
from textloc.errors import PromptError
from textloc.paths import CHECKPOINTS
from textloc.prompts import parse_pair, quoted
from textloc.ui.html import sentence

_WORDS = (("STOP", "LOVE"), ("TEA", "RAIN"), ("OPEN", "CLOSED"), ("HOPE", "LUCK"))
_FREE = ("HAPPY", "PARTY")  # in a prompt that names no colour, and the object by another name
_MOST = 2000  # characters of a prompt that are looked at
_SAID = re.compile(
    r"\b(?:say|says|saying|read|reads|reading|text|word|words|titled|labelled|labeled)\s+"
    r"(?!(?:on|in|of|with|the|a|an|text|word|words)\b)(['\"“‘]?[\w'’&%-]+['\"”’.!?]?)",
    re.I,
)


def spelling_of(model: str | None) -> Spelling | None:
    """What a checkpoint that ships, or a folder here, can spell and draw; else None."""
    entry = find((model or "").strip())
    if entry is not None:
        return _read(CHECKPOINTS / entry.source) if entry.shipped else None
    return None


@lru_cache(maxsize=8)
def _read(folder: Path) -> Spelling | None:
    return read(folder)


def reasons(model: str | None, source: str | None, target: str | None) -> list[str]:
    """All that stands against a pair of prompts, each as a sentence; [] while there is nothing to
    say, or too little is typed."""
    source, target = (source or "")[:_MOST].strip(), (target or "")[:_MOST].strip()
    known, found = spelling_of(model), list[str]()
    if not source:
        return []
    if not quoted(source):
        found.append(_unquoted(source))
    elif target:
        try:
            pair = parse_pair(source, target)
        except PromptError as error:
            found.append(str(error))
        else:
            source, target = pair.source, pair.target
    if known is None or model is None:
        return found
    for prompt in dict.fromkeys((source, target)):
        texts = quoted(prompt) if quoted(prompt) or prompt == source else [prompt]
        found += [f"{model} {why}" for text in texts if text and (why := known.misspelt(text))]
    if (said := advice(model, known, source)) is not None:
        found.append(said)
    return list(dict.fromkeys(found))


def _unquoted(prompt: str) -> str:
    """What is said of a prompt that quotes nothing, with the quotation marks where they belong."""
    match = _SAID.search(prompt)
    last = match or re.search(r"(\b[A-Z]{2,}\b)(?!.*\b[A-Z]{2,}\b)", prompt)
    if last is None:
        return "put the word to be written in quotation marks"
    start, stop = last.span(1)
    word = prompt[start:stop].strip("'\"“”.,!?")
    return f'put the word to be written in quotation marks: {prompt[:start]}"{word}"{prompt[stop:]}'


def hint(model: str | None, source: str | None, target: str | None) -> str:
    """`reasons` as HTML below the fields; empty where there are none."""
    items = "".join(f"<li>{sentence(text)}</li>" for text in reasons(model, source, target))
    said = f'<ul class="tl-reasons" role="status">{items}</ul>' if items else ""
    return said + _counted(model, source, target)


def _counted(model: str | None, *prompts: str | None) -> str:
    """How many letters each word has, and how many it may have; "" where that is not known."""
    known = spelling_of(model)
    if known is None:
        return ""
    words = [text for prompt in prompts for text in _texts((prompt or "")[:_MOST]) if text]
    counts = " · ".join(
        f'<b translate="no">{escape(word)}</b> <span>{len(word)} of {known.most} letters</span>'
        for word in dict.fromkeys(words)
    )
    return f'<p class="tl-hint tl-count">{counts}</p>' if counts else ""


def _texts(prompt: str) -> list[str]:
    """The quoted words of a prompt; of a target that is a word alone, that."""
    if found := quoted(prompt):
        return found
    return [] if len(prompt.split()) > 1 else [prompt.strip()]


def chosen(model: str | None, prompt: str | None, pick: str) -> str | None:
    """A prompt with another object or colour, as the chip `object:mug` or `colour:red` says; None
    for what is no such chip, and for a word alone."""
    known, (kind, _, name) = spelling_of(model), pick.partition(":")
    prompt = (prompt or "")[:_MOST]
    if known is None or (prompt and not quoted(prompt)):
        return None
    if name not in {"object": known.objects, "colour": known.colours}.get(kind, ()):
        return None
    word = next(iter(quoted(prompt)), "LOVE")  # it stays, also where it has yet to be mended
    return known.naming(prompt, word, **{"thing" if kind == "object" else kind: name})


def examples(model: str | None) -> list[tuple[str, str]]:
    """Pairs of prompts to begin with: source, and the new word alone."""
    known = spelling_of(model)
    if known is None or not known.objects or not known.colours:
        return [('a red sign that says "STOP"', "LOVE")]
    found = []
    for number, (word, other) in enumerate(_WORDS):
        thing = known.objects[number * 2 % len(known.objects)]
        colour = known.colours[number * 3 % len(known.colours)]
        article = "an" if colour[0] in "aeiou" else "a"
        found.append((f'{article} {colour} {thing} that says "{word}"', other))
    names = known.names.get(known.objects[-1])
    if names and known.colourless:
        found[-1] = (f'a {names[0]} saying "{_FREE[0]}"', _FREE[1])
    return found


def _named(known: Spelling) -> str:
    """What a prompt has to name, and by which other words it may."""
    others = sum(len(set(names)) for names in known.names.values()) + len(known.shades)
    asked = "Name an object." if known.colourless else "Name an object and a colour."
    return f"{asked} It knows {others} other words for them." if others else asked


def _chips(kind: str, names: Sequence[str]) -> str:
    label = {"object": "Object", "colour": "Colour"}[kind]
    buttons = "".join(
        f'<button type="button" data-pick="{kind}:{escape(name)}" translate="no">{escape(name)}'
        "</button>"
        for name in names
    )
    return f'<div class="tl-chips" role="group" aria-label="{label}">{buttons}</div>'


def offered(model: str | None) -> str:
    """What the checkpoint draws and spells, its objects and colours as chips that build the prompt,
    and examples as buttons, as HTML."""
    known = spelling_of(model)
    buttons = "".join(
        f'<button type="button" data-pick="{number}">{escape(source)} → {escape(word)}</button>'
        for number, (source, word) in enumerate(examples(model))
    )
    said = ""
    if known is not None and known.objects:
        chips = _chips("object", known.objects) + _chips("colour", known.colours)
        said = (
            f'<p class="tl-hint">{escape(str(model))} draws these, with words of {known.least} to '
            f"{known.most} letters. {_named(known)}</p>{chips}"
        )
    return f'{said}<div class="tl-examples">{buttons}</div>'
