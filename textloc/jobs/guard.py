"""A guard around a pipeline: toxic words of its prompts are not written into its pictures.

Within the block the pipeline is called as ever. What its text encoders are given is seen
(`guard_texts`). Where that is clean, the call's own denoiser makes the picture untouched; where it
asks for a toxic word, the localized layers read a benign text in its place (`injection`) and
everything else reads the prompt as it is, so the picture stays what it was but for the words
(paper, section 4.3). The batch, its noise and the scheduler are the call's own.

Every pass of the denoiser accounts for every row: a text that this call encoded, exchanged or
clean, or `GuardError`. So nothing passes through unguarded: not what the guard cannot see, not
another pipeline that shares the denoiser, not a text that is changed on the way.
`docs/guard.md` says what that leaves.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from textloc import toxicity
from textloc.checkpoints import families
from textloc.errors import CheckpointError, GuardError, LayerError, ToxicityError
from textloc.jobs.guard_texts import (
    ENCODE,
    Call,
    Guarded,
    Judge,
    current,
    listened,
    text_encoders,
    tokenizers,
    under_way,
)
from textloc.jobs.suppress import FALLBACKS, Fallback
from textloc.layers import TextLayer, check_layers, numbers, parse_layers
from textloc.patching.injection import injected, watched
from textloc.patching.standing_in import own_class, standing_in
from textloc.reading import ocr as engines

_DENOISERS = ("unet", "transformer")
_EVERY = 2  # passes; of every one the pictures differ little (LOG.md), and it costs twice as much
_READS = ("encoder_hidden_states", "cap_feats")


@dataclass
class Guard:
    """What a guard has done.

    layers: that read the benign text. guarded: one entry for every prompt that asked for a toxic
    word. layers_from: where the layers come from, as a sentence; empty where they were given.
    """

    layers: tuple[int, ...]
    guarded: list[Guarded] = field(default_factory=list)
    layers_from: str = ""


@contextmanager
def guard(
    pipe: Any,
    layers: str | Sequence[int] = "auto",
    *,
    replacements: Mapping[str, str] | None = None,
    detector: str = "lexicon",
    words: Sequence[str] = (),
    allowed: Sequence[str] = (),
    languages: Sequence[str] | None = None,
    strictness: str = "usual",
    check: bool = False,
    fallback: Fallback = "refuse",
    ocr: str = "auto",
) -> Iterator[Guard]:
    """Guard the calls of a diffusers pipeline while the block lasts.

    Calls of several threads take turns. Pipelines that share the denoiser are refused until they
    have a guard of their own; guards of different pipelines can be entered and left in any order.

    Args:
        pipe: a text-to-image or image-to-image pipeline of a known family.
        layers: text layers that read the benign text, as numbers or text such as `55-57`; `auto`
            takes the localized ones of this checkpoint (`choosing.layers_known`).
        replacements: toxic text → what is to be written; comes before every other rewriting.
        detector: name in `toxicity.DETECTORS`.
        words, allowed: more words to keep out, and words to let through, which win over `words`.
        languages, strictness: as `toxicity.find`.
        check: read every picture that comes out by OCR, whatever its prompt; where a toxic word
            reads, do `fallback`.
        fallback: `refuse` raises; `more-layers` generates the call again with all text layers
            reading the benign text, and swaps the prompt if that fails; `prompt-swap` generates it
            again with the benign prompt. Both begin from the same noise. A call whose prompts are
            clean is refused.
        ocr: engine of the check.

    Yields:
        What the guard did.

    Raises:
        CheckpointError: a pipeline of no known family. LayerError: no layers are known for `auto`,
        an unknown layer, or a pipeline that is compiled. GuardError: a pipeline that cannot be
        guarded, or is guarded already. Calls raise GuardError where a text cannot be seen or
        accounted for, ToxicityError where a text cannot be rewritten, and where the check refuses a
        picture.
    """
    if fallback not in FALLBACKS:
        raise GuardError(f"there is no fallback {fallback!r}; there are {', '.join(FALLBACKS)}")
    detect: dict[str, Any] = {
        "detector": detector,
        "words": toxicity.several(words),
        "allowed": toxicity.several(allowed),
        "languages": None if languages is None else toxicity.several(languages),
        "strictness": strictness,
    }
    toxicity.find("", **detect)  # a detector that is not there is told of now
    if check:
        engines.describe(ocr)  # and so is an engine
    denoiser = _denoiser(pipe)
    family = families.of_denoiser(denoiser)
    judge = Judge(_replacements(replacements), detect, family.QUOTED)
    with ExitStack() as undo:
        job = _Job(pipe, denoiser, family, judge, check, fallback, ocr)
        taken = "this pipeline is guarded already; give all words to one guard"
        undo.enter_context(standing_in(pipe, job.methods, alone=taken))
        undo.enter_context(listened(pipe))
        undo.callback(job.close)
        found = undo.enter_context(watched(denoiser))  # left first: waits for calls under way
        job.open(found, *_chosen(pipe, denoiser, layers, found))
        yield job.state


def _replacements(given: Any) -> Mapping[str, str]:
    found = {} if given is None else given
    if isinstance(found, Mapping) and all(
        isinstance(text, str) for text in (*found, *found.values())
    ):
        return found
    raise GuardError("replacements are a dict of toxic text to text, such as {'LOSER': 'LASER'}")


class _Job:
    """One guard."""

    def __init__(
        self,
        pipe: Any,
        denoiser: Any,
        family: families.Family,
        judge: Judge,
        check: bool,
        fallback: Fallback,
        ocr: str,
    ) -> None:
        self._pipe, self._denoiser, self._family, self._judge = pipe, denoiser, family, judge
        self._check, self._fallback, self._ocr = check, fallback, ocr
        self._layers: tuple[TextLayer, ...] = ()
        self._parts = _parts(pipe)
        self._open = self._busy = False
        self.state = Guard(())

    def open(self, layers: Sequence[TextLayer], chosen: tuple[int, ...], origin: str) -> None:
        """Begin: the denoiser's text layers, those that are to read the benign text, and where
        these come from."""
        self._layers, self._open = tuple(layers), True
        self.state.layers, self.state.layers_from = chosen, origin

    def close(self) -> None:
        """End; a call that has not begun is refused."""
        self._open = False

    def methods(self, original: type) -> dict[str, Any]:
        """The methods that stand in for the pipeline's."""
        own_call: Callable[..., Any] = original.__call__
        own_encode: Callable[..., Any] = original.encode_prompt  # type: ignore[attr-defined]
        own_put: Callable[..., None] = original.__setattr__

        def call(pipe: Any, *args: Any, **kwargs: Any) -> Any:
            return self._called(partial(own_call, pipe), args, kwargs)

        def encode(pipe: Any, *args: Any, **kwargs: Any) -> Any:
            return self._encoded(partial(own_encode, pipe), *args, **kwargs)

        def put(pipe: Any, name: str, value: Any) -> None:
            if self._busy and name in self._parts and value is not self._parts[name]:
                raise GuardError(self._exchanged())
            own_put(pipe, name, value)

        call.__wrapped__ = own_call  # type: ignore[attr-defined]
        encode.__wrapped__ = own_encode  # type: ignore[attr-defined]
        return {"__call__": call, "encode_prompt": encode, "__setattr__": put}

    def _encoded(self, own: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """The pipeline's `encode_prompt`, seen to in a call of this guard."""
        call = current()
        if call is None or call.owner is not self:
            return own(*args, **kwargs)
        return call.encode(self._pipe, own, args, kwargs)

    def _called(self, own: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
        """The pipeline's call, guarded."""
        if self._check and kwargs.get("output_type", "pil") != "pil":
            raise GuardError("the check by OCR reads PIL pictures; leave output_type at 'pil'")
        noise = _Noise(args, kwargs)
        again = partial(self._made, own, args, kwargs)
        result, call = again(self.state.layers)
        told = list(call.told)
        if self._check:
            result, told = self._checked(again, call, result, noise)
        self.state.guarded += told
        return result

    def _made(
        self,
        own: Callable[..., Any],
        args: Any,
        kwargs: dict[str, Any],
        layers: Sequence[int],
        swapped: Mapping[str, str] | None = None,
    ) -> tuple[Any, Call]:
        """What the call gives with the benign texts in these layers, or in the place of the
        prompts."""
        call = Call(self, self._judge, swapped, self._family)
        known = self._layers, layers, call.words
        with injected(self._denoiser, *known, strict=True, every=_EVERY) as state:
            if not self._open:
                raise GuardError("the guard was left before the call began; enter it anew")
            self._check_whole()
            self._busy = True
            try:
                with under_way(call), self._own_encoding():
                    result = own(*args, **kwargs)
            finally:
                self._busy = False
            self._check_whole()
        if not state.passes:
            raise GuardError(
                f"{type(self._pipe).__name__} made its picture without its denoiser, so nothing "
                "is known of it and it is withheld; use `textloc.suppress`"
            )
        return result, call

    @contextmanager
    def _own_encoding(self) -> Iterator[None]:
        """Have an `encode_prompt` of the pipeline's instance seen to as that of its class."""
        own = vars(self._pipe).get(ENCODE)
        if own is None:
            yield
            return
        setattr(self._pipe, ENCODE, partial(self._encoded, own))
        try:
            yield
        finally:
            setattr(self._pipe, ENCODE, own)

    def _exchanged(self) -> str:
        return (
            f"a part of {type(self._pipe).__name__} was exchanged within the guard's block; leave "
            "the block first and enter it anew"
        )

    def _check_whole(self) -> None:
        """Check that the guard guards what makes the picture."""
        pipe = self._pipe
        if any(getattr(pipe, name, None) is not part for name, part in self._parts.items()):
            raise GuardError(self._exchanged())
        _check_readers(self._pipe, self._denoiser)

    # -- the check by OCR ------------------------------------------------------------------

    def _checked(
        self, again: Callable[..., tuple[Any, Call]], call: Call, result: Any, noise: _Noise
    ) -> tuple[Any, list[Guarded]]:
        """The result, or what the fallback makes of it, in which no toxic word reads."""
        told = list(call.told)
        if not self._reads(result, told):
            return result, told
        steps: list[tuple[Fallback, Callable[[], tuple[Any, Call]]]] = []
        if told and self._fallback == "more-layers":
            steps.append(("more-layers", lambda: again(range(len(self._layers)))))
        if told and self._fallback != "refuse":
            swapped = call.exchanged
            steps.append(("prompt-swap", lambda: again(self.state.layers, swapped)))
        for name, step in steps:
            noise.rewind()
            result, _ = step()
            if not self._reads(result, told):
                return result, [replace(each, fallback=name) for each in told]
        raise ToxicityError(
            "a toxic word still reads in a guarded picture, which is withheld; change the prompt, "
            "or give another replacement"
            if told
            else "a toxic word reads in a picture whose prompt has none; the picture is withheld, "
            "change the prompt"
        )

    def _reads(self, result: Any, told: Sequence[Guarded]) -> bool:
        """Whether a toxic word reads in a picture, or one that was to be kept out."""
        kept_out = [(finding.text, each.written) for each in told for finding in each.findings]
        return any(
            toxicity.is_toxic(reading.text, **self._judge.options)
            or any(toxicity.same(reading.text, *words) for words in kept_out)
            for reading in engines.read(_pictures(result), self._ocr)
        )


def _pictures(result: Any) -> list[Any]:
    """The PIL pictures of a call's result.

    Raises:
        GuardError: there is none, or something else.
    """
    from PIL import Image

    found = result[0] if isinstance(result, tuple) else getattr(result, "images", result)
    pictures = list(found) if isinstance(found, (list, tuple)) else [found]
    if not pictures or not all(isinstance(picture, Image.Image) for picture in pictures):
        raise GuardError(
            "the check by OCR finds no PIL pictures in what the pipeline gives, so it is withheld; "
            "leave output_type at 'pil'"
        )
    return pictures


# ---------------------------------------------------------------------------- the pipeline


def _denoiser(pipe: Any) -> Any:
    """The denoiser of a pipeline that can be guarded."""
    name = type(pipe).__name__
    found = [getattr(pipe, part) for part in _DENOISERS if getattr(pipe, part, None) is not None]
    if len(found) != 1:
        raise CheckpointError(
            f"{name} has no U-Net or transformer of its own; guard a text-to-image or "
            "image-to-image pipeline"
        )
    if not hasattr(pipe, "encode_prompt"):
        raise GuardError(
            f"{name} encodes its prompts within its call, where no guard reaches them; use "
            "`textloc.suppress`"
        )
    _check_readers(pipe, found[0])
    return found[0]


def _check_readers(pipe: Any, denoiser: Any) -> None:
    """Check that nothing but the denoiser reads the prompt's states."""
    name = type(pipe).__name__
    if getattr(pipe, "controlnet", None) is not None:
        raise GuardError(
            f"the controlnet of {name} reads the prompt too, past the guarded layers; guard a "
            "pipeline without it"
        )
    for part, thing in vars(pipe).items():
        if any(each is not denoiser and _reads_states(each) for each in _held(thing)):
            raise GuardError(
                f"the {part} of {name} reads the prompt too, past the guarded layers; guard a "
                "pipeline without it"
            )


def _held(thing: Any) -> list[Any]:
    """Something, or what is in it where it is a list or the like, or another pipeline."""
    from diffusers import DiffusionPipeline

    if isinstance(thing, DiffusionPipeline):
        thing = vars(thing)
    if isinstance(thing, Mapping):
        thing = list(thing.values())
    return list(thing) if isinstance(thing, (list, tuple)) else [thing]


def _reads_states(thing: Any) -> bool:
    """Whether something is a network of diffusers that reads text states."""
    from diffusers import ModelMixin

    return isinstance(thing, ModelMixin) and _takes_states(own_class(thing))


@lru_cache(maxsize=64)
def _takes_states(kind: Any) -> bool:
    return any(name.startswith(_READS) for name in inspect.signature(kind.forward).parameters)


def _parts(pipe: Any) -> dict[str, Any]:
    """What the guard looks at: the denoiser, the tokenizers and the text encoders, by name."""
    seen = [*tokenizers(pipe), *text_encoders(pipe)]
    names = {name for name, part in vars(pipe).items() if any(part is each for each in seen)}
    return {name: getattr(pipe, name, None) for name in (*_DENOISERS, *sorted(names))}


def _chosen(
    pipe: Any, denoiser: Any, asked: str | Sequence[int], layers: Sequence[TextLayer]
) -> tuple[tuple[int, ...], str]:
    """The layers that are asked for, and where they come from."""
    if isinstance(asked, str) and asked != "auto":
        every = tuple(range(len(layers)))
        return every if asked == "all" else parse_layers(asked, len(layers)), ""
    if not isinstance(asked, str):
        asked = numbers(asked)
        check_layers(asked, len(layers))
        if not asked:
            raise LayerError("name at least one layer, or `auto`")
        return tuple(sorted(set(asked))), ""
    from textloc.checkpoints import weights
    from textloc.jobs import choosing

    name = str(getattr(pipe.config, "_name_or_path", "") or "")
    folder = Path(name)
    digest = weights.digest(folder) if (folder / "model_index.json").is_file() else None
    found = choosing.layers_known(name, digest, families.architecture(denoiser, layers))
    if found is None or max(found[0]) >= len(layers):
        raise LayerError(
            f"the layers of {name or type(pipe).__name__} that write words are not known here; "
            "find them by `textloc localize --save`, or name them (layers='55-57')"
        )
    return found[0], choosing.told(*found)


class _Noise:
    """The generators of a call, to begin once more from the same noise."""

    def __init__(self, args: Any, kwargs: Mapping[str, Any]) -> None:
        import torch

        given = [each for value in (*args, *kwargs.values()) for each in _generators(value)]
        usual = [torch.default_generator, *torch.cuda.default_generators]
        drawn = given or usual
        self._states = [(generator, generator.get_state()) for generator in drawn]

    def rewind(self) -> None:
        """Put every generator back to where it was."""
        for generator, state in self._states:
            generator.set_state(state)


def _generators(value: Any) -> list[Any]:
    import torch

    given = value if isinstance(value, (list, tuple)) else [value]
    return [each for each in given if isinstance(each, torch.Generator)]
