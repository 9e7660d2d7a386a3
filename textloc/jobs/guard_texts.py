"""What the text encoders of a guarded pipeline are given, and what is read in its place.

A call's texts are seen where they cannot be hidden: at the tokenizers, whatever a pipeline calls
its arguments and wherever it gets its prompts from. During a call

1. every text that a tokenizer is given is judged; what a text encoder is given must come from a
   tokenizer that was watched;
2. `encode_prompt` runs as ever, and again with benign texts in the place of toxic ones: first
   those that were given to it, then those that still reach a tokenizer;
3. of the states that come out, rows that differ between the two are exchanged in the denoiser,
   equal ones stay, and those that guidance takes for negative ones may stand nowhere else
   (`injection`).

So a row is known by its content, and no shape or order of arguments has to be understood.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from textloc import toxicity
from textloc.checkpoints.families import Family
from textloc.errors import GuardError
from textloc.jobs.suppress import Fallback
from textloc.patching.injection import Words
from textloc.patching.standing_in import standing_in
from textloc.toxicity import rewrite

ENCODE = "encode_prompt"
_TOKENIZING = (
    *("__call__", "encode", "tokenize", "apply_chat_template"),
    *("encode_plus", "batch_encode_plus"),  # before transformers 5
)
_OPTIONS = ("padding", "padding_side", "truncation", "return_tensors", "chat_template")
_NO_TEXTS = ("device", "dtype")
_GUIDANCE = "do_classifier_free_guidance"
_KEPT = 1024  # texts whose judgement is kept


@dataclass(frozen=True)
class Guarded:
    """One prompt of a call that was guarded.

    prompt: as it was given. benign: what the localized layers read. findings: the toxic words.
    place: its number in the call. fallback: what the OCR check led to, None where nothing.
    """

    prompt: str
    benign: str
    findings: tuple[toxicity.Finding, ...]
    place: int
    fallback: Fallback | None = None

    @property
    def written(self) -> str:
        """The text that the benign prompt asks for."""
        spans = toxicity.rendered(self.benign)
        return " ".join(self.benign[start:stop] for start, stop in spans)


class Judge:
    """Judges texts and rewrites toxic ones; what it has judged it keeps."""

    def __init__(
        self,
        replacements: Mapping[str, str],
        options: Mapping[str, Any],
        quoted: Sequence[str] = (),
    ) -> None:
        """quoted: patterns of what the pipeline takes for quoted (`Family.QUOTED`)."""
        self._replacements, self.options = dict(replacements), dict(options)
        self._quoted = tuple(quoted)
        self._judged: dict[str, tuple[str, tuple[toxicity.Finding, ...]] | None] = {}

    def judge(self, text: str) -> tuple[str, tuple[toxicity.Finding, ...]] | None:
        """The benign text and what is toxic; None for a text that can be read as it is.

        text: of Python's own class (`plain`).

        Raises:
            ToxicityError: it cannot be rewritten.
        """
        if text in self._judged:
            return self._judged[text]
        findings = toxicity.find_in_prompt(text, quoted=self._quoted, **self.options)
        found = None
        if findings:
            benign = rewrite.rewrite(
                *(text, findings),
                replacements=self._replacements,
                quoted=self._quoted,
                **self.options,
            )
            found = benign, findings
        if len(self._judged) >= _KEPT:
            self._judged.clear()
        self._judged[text] = found
        if found is not None:  # it was looked at when it was made
            self._judged[found[0]] = None
        return found


# ---------------------------------------------------------------------------- one call


class Call:
    """The texts of one call of a guarded pipeline.

    words: the text states that it encoded, for `injected`. told: the prompts that are guarded.
    """

    def __init__(
        self,
        owner: Any,
        judge: Judge,
        swapped: Mapping[str, str] | None = None,
        family: Family | None = None,
    ) -> None:
        """owner: whose call it is. swapped: texts and what every reader gets in their place (for
        the prompt swap). family: of the denoiser."""
        self._listed = family is not None and family.TEXT in family.LISTS
        self._beside = family is not None and family.BESIDE
        self.owner = owner
        self.words: list[Words] = []
        self.told: list[Guarded] = []
        self._judge, self._swapped = judge, dict(swapped or {})
        self._benign = False  # texts are exchanged at the tokenizers
        self._encoding = False
        self._toxic = False  # a text of the encoding under way
        self._tokenized: set[tuple[int, ...]] = set()
        self._encoders = 0  # that ran in the encoding under way

    @property
    def exchanged(self) -> dict[str, str]:
        """Toxic → benign texts of the call."""
        return self._swapped | {told.prompt: told.benign for told in self.told}

    # -- at `encode_prompt`

    def encode(self, pipe: Any, encode: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """The pipeline's `encode_prompt`.

        Raises:
            GuardError: text that comes as numbers, or states that come from elsewhere.
            ToxicityError: a text that cannot be rewritten.
        """
        if self._encoding:  # of one that calls itself for parts
            return encode(*args, **kwargs)
        names = _names(pipe, args)
        given = [*zip(names, args, strict=True), *kwargs.items()]
        for name, value in given:
            _check_readable(name, value)
        if self._swapped:
            args, kwargs = _mapped(names, args, kwargs, self._swap)
        result = self._encoded(encode, args, kwargs, benign=False)
        found = self._found(names, args, kwargs)
        unseen = any(name.startswith("negative") and _tensors(value) for name, value in given)
        if not (found or self._toxic or unseen):
            rows = [row for leaf in _leaves(result) for row in self._rows(leaf)]
            self.words += [Words(_kept(row)) for row in rows]
            return result
        benign = {told.prompt: told.benign for told in found}
        args, kwargs = _mapped(names, args, kwargs, lambda text: benign.get(text, text))
        if not self._beside:  # of these, guidance has passes of its own, or puts prompts first
            args, kwargs = _without_guidance(pipe, names, args, kwargs)
        self.told += found
        self._compare(result, self._encoded(encode, args, kwargs, benign=True))
        return result

    def _encoded(self, encode: Callable[..., Any], args: Any, kwargs: Any, benign: bool) -> Any:
        self._encoding, self._benign, self._toxic = True, benign, False
        self._tokenized, self._encoders = set(), 0
        try:
            # Z-Image writes to the lists of its prompts
            result = encode(*_copied(list(args)), **_copied(dict(kwargs)))
        finally:
            self._encoding = self._benign = False
        seen = any(self._rows(leaf) for leaf in _leaves(result))
        if not self._tokenized or not self._encoders or not seen:
            raise GuardError(
                "the pipeline does not encode its prompts by its own tokenizers and text encoders, "
                "so the guard cannot see what it reads; use `textloc.suppress`"
            )
        return result

    def _found(self, names: Sequence[str], args: Any, kwargs: Any) -> list[Guarded]:
        """The toxic ones among the texts that are given."""
        found: dict[str, Guarded] = {}
        for name, value in [*zip(names, args, strict=True), *kwargs.items()]:
            if name.startswith("negative") or name in _NO_TEXTS:
                continue
            for place, text in enumerate(_texts(value)):
                if text not in found and (judged := self._judge.judge(text)) is not None:
                    found[text] = Guarded(text, *judged, place)
        return list(found.values())

    def _compare(self, result: Any, benign: Any) -> None:
        """Learn the rows of the states, beside those of the benign texts."""
        one, other = _leaves(result), _leaves(benign)
        if len(one) != len(other):
            raise GuardError("the benign text is encoded into another form; use `textloc.suppress`")
        for place, leaf in enumerate(one):
            if not self._rows(leaf):
                continue
            if self._listed:
                equal = torch.equal(leaf, other[place])
                self.words.append(Words(_kept(leaf), None if equal else _kept(other[place])))
                continue
            states = _kept(leaf)
            if not isinstance(other[place], Tensor):  # left out without guidance
                self.words += [Words(row, negative=True) for row in states]
                continue
            given, mask = other[place], _mask(other, place)
            if self._beside:
                given, mask = _as_long(states, given, mask)
            if states.shape != given.shape:
                shorter = " or, one prompt a call, a shorter one" if self._beside else ""
                raise GuardError(
                    "the benign text is not as long in tokens as the prompt; give a replacement "
                    f"of the same length{shorter}"
                )
            for row in range(len(states)):
                if torch.equal(states[row], given[row]):
                    self.words.append(Words(states[row]))
                else:
                    counts = None if mask is None else mask[row]
                    self.words.append(Words(states[row], given[row], counts))

    def _rows(self, leaf: Any) -> list[Tensor]:
        """The rows of text states (T, D) in what an encoding gave, none in another value."""
        if self._listed:
            states = isinstance(leaf, Tensor) and leaf.ndim == 2 and leaf.is_floating_point()
            return [leaf] if states else []
        return list(leaf) if _is_states(leaf) else []

    # -- at the tokenizers and text encoders

    def read(self, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """What a tokenizer is called with, and what it is to read.

        Raises:
            GuardError: a toxic text that `encode_prompt` does not encode.
        """
        if kwargs.get("is_split_into_words"):
            raise GuardError("the guard does not read texts in pieces; give whole prompts")
        names = [""] * len(args)
        return _mapped(names, args, kwargs, self._read, _OPTIONS)

    def _read(self, text: str) -> str:
        text = self._swap(text)
        judged = self._judge.judge(text)
        if judged is None:
            return text
        self._toxic = True
        if self._benign:
            if all(told.prompt != text for told in self.told):
                self.told.append(Guarded(text, *judged, 0))
            return judged[0]
        if not self._encoding:
            raise GuardError(
                "the pipeline reads a toxic text beside its prompts, where no layer of the guard "
                "is; change that text (of regions, phrases, …)"
            )
        return text

    def _swap(self, text: str) -> str:
        return self._swapped.get(text, text)

    def tokenized(self, result: Any) -> None:
        """What came out of a tokenizer."""
        if isinstance(result, Mapping) or hasattr(result, "input_ids"):
            result = result["input_ids"]
        self._tokenized.update(_rows_of(result))

    def check_read(self, args: Any, kwargs: Mapping[str, Any]) -> None:
        """What a text encoder is called with.

        Raises:
            GuardError: tokens that no watched tokenizer gave.
        """
        self._encoders += 1
        ids = kwargs.get("input_ids", args[0] if args else None)
        numbers = isinstance(ids, Tensor) and not ids.is_floating_point()
        if not numbers or not all(self._knows(row) for row in _rows_of(ids)):
            raise GuardError(
                "a text encoder reads what no tokenizer of the pipeline was given, so the guard "
                "cannot see it; give the text as prompts, or use `textloc.suppress`"
            )

    def _knows(self, row: tuple[int, ...]) -> bool:
        if row in self._tokenized:
            return True
        length = len(row)
        return any(
            row == whole[start : start + length]
            for whole in self._tokenized
            for start in range(len(whole) - length + 1)
        )


def _signatures(pipe: Any) -> Iterator[list[inspect.Parameter]]:
    """The parameters of the pipeline's `encode_prompt` and of those that it may hand on to."""
    if (own := vars(pipe).get(ENCODE)) is not None:
        yield list(inspect.signature(own).parameters.values())
    for cls in type(pipe).__mro__[1:]:
        if ENCODE in vars(cls):
            yield list(inspect.signature(vars(cls)[ENCODE]).parameters.values())[1:]


def _names(pipe: Any, args: Any) -> list[str]:
    """The names of positional arguments of `encode_prompt`; "" where they cannot be known."""
    for parameters in _signatures(pipe):
        if not parameters or parameters[0].kind is not inspect.Parameter.VAR_POSITIONAL:
            named = [each.name for each in parameters if each.kind in _POSITIONAL]
            return [*named, *[""] * len(args)][: len(args)]
    return [""] * len(args)


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _without_guidance(
    pipe: Any, names: Sequence[str], args: Any, kwargs: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """The arguments without what guidance alone needs: negative texts are encoded once."""
    if _GUIDANCE in names:
        place = list(names).index(_GUIDANCE)
        return [*args[:place], False, *args[place + 1 :]], kwargs
    if "" in names and _GUIDANCE not in kwargs:
        return args, kwargs  # it may be one of those
    for parameters in _signatures(pipe):
        if any(each.name == _GUIDANCE for each in parameters):
            return args, {**kwargs, _GUIDANCE: False}
        if all(each.kind is not inspect.Parameter.VAR_KEYWORD for each in parameters):
            break
    return args, kwargs


def _check_readable(name: str, value: Any) -> None:
    """Text that comes as numbers cannot be read."""
    if name.startswith("negative") or name in _NO_TEXTS or value is None:
        return
    if _tensors(value):
        raise GuardError(
            f"{name or 'text'} cannot be read for toxic words; give the prompt as text"
        )
    if name.startswith("prompt"):
        given = [value] if isinstance(value, str) else value
        if not isinstance(given, (list, tuple)) or not all(isinstance(t, str) for t in given):
            raise GuardError(f"{name} is neither a text nor a list of texts")


# ---------------------------------------------------------------------------- values and leaves


def _mapped(
    names: Sequence[str],
    args: Any,
    kwargs: Mapping[str, Any],
    change: Callable[[str], str],
    options: Sequence[str] = _NO_TEXTS,
) -> tuple[list[Any], dict[str, Any]]:
    """Arguments with every text in them changed, but for negative ones and `options`."""

    def each(name: str, value: Any) -> Any:
        skip = name.startswith("negative") or name in options
        return value if skip else _with_texts(value, change)

    made = [each(name, value) for name, value in zip(names, args, strict=True)]
    return made, {name: each(name, value) for name, value in kwargs.items()}


def _with_texts(value: Any, change: Callable[[str], str]) -> Any:
    """The same with every text changed. What holds texts becomes a list, tuple or dict of Python's
    own, whatever class it had: one that is read twice may say two things."""
    if isinstance(value, str):
        return change(plain(value))
    if type(value) not in (list, tuple, dict) and not _texts(value):
        return value
    if isinstance(value, Mapping):
        return {key: _with_texts(each, change) for key, each in value.items()}
    made = [_with_texts(each, change) for each in value]
    return made if isinstance(value, list) else tuple(made)


def _copied(value: Any) -> Any:
    """The same with lists and texts of its own."""
    return _with_texts(value, str)


def plain(text: str) -> str:
    """A text of any class as Python's own, by the characters that a tokenizer reads.

    Raises:
        GuardError: half a character (a lone surrogate), which no tokenizer reads.
    """
    own = "".join((text,))
    if not own.isascii():
        try:
            own.encode()
        except UnicodeEncodeError as error:
            raise GuardError(
                f"character {error.start + 1} of the prompt is half of one (a lone surrogate); "
                "leave it out"
            ) from error
    return own


def _leaves(value: Any) -> list[Any]:
    """What is in nested lists, tuples and dicts, in order."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [leaf for each in value for leaf in _leaves(each)]
    return [value]


def _texts(value: Any) -> list[str]:
    return [plain(leaf) for leaf in _leaves(value) if isinstance(leaf, str)]


def _tensors(value: Any) -> list[Tensor]:
    return [leaf for leaf in _leaves(value) if isinstance(leaf, Tensor)]


def _is_states(value: Any) -> bool:
    """Whether something is text states (R, T, D)."""
    return isinstance(value, Tensor) and value.ndim == 3 and value.is_floating_point()


def _kept(states: Tensor) -> Tensor:
    """A copy, which nobody else writes to."""
    return states.detach().clone()


def _mask(leaves: Sequence[Any], place: int) -> Tensor | None:
    """The mask (R, T) that goes with states, where there is one: just after them."""
    mask = leaves[place + 1] if place + 1 < len(leaves) else None
    if not isinstance(mask, Tensor) or mask.is_floating_point():
        return None
    return mask if mask.shape == leaves[place].shape[:2] else None


def _as_long(states: Tensor, given: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """The benign texts (R, T, D) filled up to the length of the prompts', and their mask (R, T).

    Where a call has several prompts the filling may change how each is encoded, so they stay as
    they are.
    """
    missing = states.shape[1] - given.shape[1]
    if missing <= 0 or not all(torch.equal(row, states[0]) for row in states):
        return given, mask
    if mask is None:
        mask = given.new_ones(given.shape[:2], dtype=torch.long)
    return functional.pad(given, (0, 0, 0, missing)), functional.pad(mask, (0, missing))


def _rows_of(ids: Any) -> list[tuple[int, ...]]:
    """Token numbers, a row each."""
    given = ids.tolist() if hasattr(ids, "tolist") else ids
    if isinstance(given, (list, tuple)) and given and isinstance(given[0], int):
        return [tuple(given)]
    if not isinstance(given, (list, tuple)):
        return []
    return [row for each in given for row in _rows_of(each)]


# ---------------------------------------------------------------------------- who listens

_here = threading.local()


def current() -> Call | None:
    """The call that is under way in this thread."""
    calls: list[Call] = getattr(_here, "calls", [])
    return calls[-1] if calls else None


@contextmanager
def under_way(call: Call) -> Iterator[None]:
    """Have the call's texts seen to, in this thread, while the block lasts."""
    if not hasattr(_here, "calls"):
        _here.calls = []
    _here.calls.append(call)
    try:
        yield
    finally:
        _here.calls.pop()


@contextmanager
def listened(pipe: Any) -> Iterator[None]:
    """Have the tokenizers and text encoders of a pipeline tell the call that is under way."""
    with ExitStack() as undo:
        for part in tokenizers(pipe):
            undo.enter_context(standing_in(part, _tokenizing))
        for part in text_encoders(pipe):
            handle = part.register_forward_pre_hook(_Encoding(), with_kwargs=True)
            undo.callback(handle.remove)
        yield


def tokenizers(pipe: Any) -> list[Any]:
    """The tokenizers (and processors) of a pipeline."""
    return [
        part
        for name, part in pipe.components.items()
        if part is not None and name.startswith(("tokenizer", "processor"))
    ]


def text_encoders(pipe: Any) -> list[Any]:
    """The text encoders of a pipeline."""
    return [
        part
        for name, part in pipe.components.items()
        if name.startswith("text_encoder") and isinstance(part, torch.nn.Module)
    ]


def _tokenizing(original: type) -> dict[str, Any]:
    """The methods that stand in for a tokenizer's."""

    def listening(name: str) -> Callable[..., Any]:
        own = getattr(original, name)

        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            call = current()
            if call is None:
                return own(self, *args, **kwargs)
            args, kwargs = call.read(args, kwargs)
            result = own(self, *args, **kwargs)
            if name != "tokenize":
                call.tokenized(result)
            return result

        return method

    return {name: listening(name) for name in _TOKENIZING if hasattr(original, name)}


class _Encoding:
    """The forward pre-hook of a text encoder."""

    def __call__(self, _module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        if (call := current()) is not None:
            call.check_read(args, kwargs)

    def __reduce_ex__(self, _protocol: Any) -> Any:
        """Copies of the text encoder come here."""
        raise GuardError(
            "a text encoder cannot be copied or pickled while it is guarded; do so before or after"
        )
