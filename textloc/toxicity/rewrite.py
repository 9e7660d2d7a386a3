"""Benign texts in the place of toxic ones, as like them as can be: length, case, letters, tone.

A person's own replacement comes first, then a table of ours, then the word of a benign list that
has the same length and the most letters in place; a language model may be asked before these.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from textloc import toxicity
from textloc.errors import ToxicityError
from textloc.toxicity.entries import hatred
from textloc.toxicity.wordlists import read_words

_CHOICES = 5
_ROUNDS = 4

Model = Callable[[str], str]
"""Makes a benign text of a toxic one."""

_ASK = (
    "Replace the offensive text {text!r} by a harmless one of the same length and tone for a sign. "
    "Answer with the new text alone."
)


def benign(
    text: str,
    *,
    replacements: Mapping[str, str] | None = None,
    model: Model | None = None,
    meant: str = "",
    **options: Any,
) -> str:
    """A benign text in the place of a toxic one.

    Args:
        text: a word or some words. meant: what it says where that is disguised (`L O S E R`).
        replacements: toxic → benign, whatever the case; taken as they are.
        model: a language model (`language_model`); what it answers is checked, and where it is no
            single benign line of about that length, the table and the rule are taken.
        options: of `toxicity.find`: what counts as toxic.

    Raises:
        ToxicityError: a replacement that is toxic itself, or lists that leave no benign word.
    """
    for toxic, given in (replacements or {}).items():
        if toxic.casefold() == text.casefold():
            if toxicity.is_toxic(given, **options):
                raise ToxicityError(f"the replacement {given!r} is toxic itself; give another")
            return given
    if model is not None:
        answer = _answer(model, text, options)
        if answer is not None:
            return _cased(answer, text)
    together = _table().get(meant or " ".join(text.casefold().split()), "")
    if " " in together and not toxicity.is_toxic(together, **options):
        return _cased(together, text)
    for choice in range(_CHOICES):  # words that are benign alone can be toxic side by side

        def replaced(word: re.Match[str], choice: int = choice) -> str:
            return _cased(_word(word[0], choice, options), word[0])

        made = re.sub(r"\S+", replaced, meant or text)
        made = _cased(made, text) if meant else made
        if not toxicity.is_toxic(made, **options):
            return made
    raise ToxicityError("no benign text is left by your lists; allow some, or give a replacement")


def rewrite(
    text: str,
    findings: Sequence[toxicity.Finding] | None = None,
    *,
    replacements: Mapping[str, str] | None = None,
    model: Model | None = None,
    quoted: Sequence[str] = (),
    **options: Any,
) -> str:
    """A text with what is toxic in it replaced, and all else as it is.

    Args:
        text: a prompt, or any other text. findings: None looks for them in the prompt.
        replacements, model, options: as `benign`. quoted: as `toxicity.find_in_prompt`.

    Raises:
        ToxicityError: something toxic is left.
    """
    if findings is None:
        findings = toxicity.find_in_prompt(text, quoted=quoted, **options)
    for _ in range(_ROUNDS):  # what is replaced may have excused another word, or hidden it
        text = _replaced(text, findings, replacements, model, options)
        findings = toxicity.find_in_prompt(text, quoted=quoted, **options)
        if not findings:
            return text
    raise ToxicityError("a toxic word is left in the rewritten text; give a replacement for it")


def _replaced(
    text: str,
    findings: Sequence[toxicity.Finding],
    replacements: Mapping[str, str] | None,
    model: Model | None,
    options: Mapping[str, Any],
) -> str:
    """A text with benign texts in the place of findings."""
    made, end = "", 0
    for finding in findings:
        made += text[end : finding.start]
        made += instead(finding, replacements=replacements, model=model, **options)
        end = finding.stop
    return made + text[end:]


def instead(
    finding: toxicity.Finding,
    *,
    replacements: Mapping[str, str] | None = None,
    model: Model | None = None,
    **options: Any,
) -> str:
    """What is written in the place of a finding; as `benign`."""
    given = {**(replacements or {})}
    for toxic in list(given):  # a replacement of the word that is meant, however it is written
        if toxic.casefold() == finding.word:
            given[finding.text] = given[toxic]
    meant = finding.word if finding.disguised else ""
    return benign(finding.text, replacements=given, model=model, meant=meant, **options)


def read_replacements(path: Path) -> dict[str, str]:
    """Replacements from a file with lines of toxic and benign text, separated by a tab.

    Raises:
        ToxicityError: it cannot be read.
    """
    found = {}
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ToxicityError(f"{path} cannot be read as replacements ({error})") from error
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        toxic, tab, given = line.partition("\t")
        if not (tab and toxic.strip() and given.strip()):
            raise ToxicityError(f"{path}, line {number}: write toxic text, a tab, benign text")
        found[toxic.strip()] = given.strip()
    return found


def language_model(name: str, address: str | None = None, key: str | None = None) -> Model:
    """A language model that rewrites.

    Args:
        name: of a model on the Hub, run here by transformers; with an `address`, that of the model
            behind it.
        address: base URL of a service that speaks OpenAI's chat protocol.
        key: for the service; None takes `$OPENAI_API_KEY`.
    """
    if address is None:
        return lambda text: _local(name)(_ASK.format(text=text))
    from huggingface_hub import InferenceClient

    client = InferenceClient(base_url=address, api_key=key or os.environ.get("OPENAI_API_KEY"))

    def ask(text: str) -> str:
        question = [{"role": "user", "content": _ASK.format(text=text)}]
        answer = client.chat_completion(question, model=name, max_tokens=32, temperature=0)
        return str(answer.choices[0].message.content or "")

    return ask


@lru_cache(maxsize=2)
def _local(name: str) -> Model:
    from transformers import pipeline

    try:
        generate: Any = pipeline("text-generation", model=name)
    except (OSError, ValueError) as error:
        raise ToxicityError(
            f"the language model {name} is not here and cannot be fetched; leave it out"
        ) from error

    def ask(question: str) -> str:
        found = generate([{"role": "user", "content": question}], max_new_tokens=32)
        return str(found[0]["generated_text"][-1]["content"])

    return ask


def _answer(model: Model, text: str, options: Mapping[str, Any]) -> str | None:
    """What the model makes of a text, or None where it cannot be used."""
    try:
        said = model(text).strip().strip("\"'“”").strip()
    except ToxicityError:
        raise
    except Exception as error:  # a service can fail in any way
        warnings.warn(f"the language model did not answer ({error})", stacklevel=3)
        return None
    fits = said and "\n" not in said and abs(len(said) - len(text)) <= max(2, len(text) // 3)
    if not fits or toxicity.is_toxic(said, **options):
        warnings.warn("the language model's answer cannot be used; a rule is taken", stacklevel=3)
        return None
    return said


def _word(word: str, choice: int, options: Mapping[str, Any]) -> str:
    """A benign word for a toxic one, lower-case; the next one for each `choice` from 0."""
    meant = toxicity.meant(word)
    table = _table()
    if not choice and meant in table and not toxicity.is_toxic(table[meant], **options):
        return table[meant]
    length = len(meant) or len(word)
    likest = islice(_likest(meant, length), 10 * _CHOICES)
    fine = (found for found in likest if not toxicity.is_toxic(found, **options))
    found = next(islice(fine, choice, None), None)
    if found is None:
        raise ToxicityError("no benign word is left by your lists; give a replacement")
    return _longer(found, length, options)


def _likest(meant: str, length: int) -> Iterator[str]:
    """The benign words, those of the nearest length first, of these those most like what is
    meant."""
    from rapidfuzz.distance import Levenshtein

    lengths = _lengths()
    for apart in sorted({abs(each - length) for each in lengths}):
        near = [
            other for each in {length - apart, length + apart} for other in lengths.get(each, ())
        ]
        yield from sorted(near, key=lambda other: (Levenshtein.distance(meant, other), other))


def _longer(word: str, length: int, options: Mapping[str, Any]) -> str:
    """The word, with a second one where it is much too short."""
    rest = length - len(word)
    if rest < 3:
        return word
    seconds = [other for other in sorted(_benign()) if len(other) == min(rest, 8)]
    for second in seconds:
        if not toxicity.is_toxic(word + second, **options):
            return word + second
    return word


@lru_cache(maxsize=1)
def _benign() -> frozenset[str]:
    return read_words("benign.txt")


@lru_cache(maxsize=1)
def _lengths() -> dict[int, list[str]]:
    """The benign words by their length."""
    found: dict[int, list[str]] = {}
    for word in sorted(_benign()):
        found.setdefault(len(word), []).append(word)
    return found


@lru_cache(maxsize=1)
def _table() -> dict[str, str]:
    """Benign texts by toxic words, or by words that are toxic together."""
    return {**hatred(), **dict(line.split("\t") for line in read_words("rewritten.txt"))}


def _cased(text: str, like: str) -> str:
    """The text in the case of another."""
    letters = [letter for letter in like if letter.isalpha()]
    if letters and all(letter.isupper() for letter in letters):
        return text.upper()
    if letters and letters[0].isupper():
        return text[:1].upper() + text[1:]
    return text
