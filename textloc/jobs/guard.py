"""A guard around a pipeline: toxic words of its prompts are not written into its pictures.

Within the block the pipeline is called as ever. Where no prompt asks for a toxic word, its own call
goes through untouched. Where one does, the localized layers read a benign text in that prompt's
place (`injection`) and everything else reads the prompt as it is, so the picture stays what it was
but for the words (paper, section 4.3). The batch, its noise and the scheduler are the call's own.

What cannot be guarded raises `GuardError`; nothing passes through unguarded.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from textloc import toxicity
from textloc.errors import CheckpointError, GuardError, LayerError, ToxicityError
from textloc.jobs.suppress import FALLBACKS, Fallback
from textloc.layers import TextLayer, check_layers, parse_layers
from textloc.patching.injection import Words, check_injectable, injected
from textloc.toxicity import rewrite

_PROMPTS = ("prompt", "prompt_2", "prompt_3")
_DENOISERS = ("unet", "transformer")


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


@dataclass
class Guard:
    """What a guard has done: one entry for every prompt that asked for a toxic word."""

    layers: tuple[int, ...]
    guarded: list[Guarded] = field(default_factory=list)


@contextmanager
def guard(
    pipe: Any,
    layers: str | Sequence[int] = "auto",
    *,
    replacements: Mapping[str, str] | None = None,
    detector: str = "lexicon",
    words: Sequence[str] = (),
    allowed: Sequence[str] = (),
    check: bool = False,
    fallback: Fallback = "refuse",
    ocr: str = "auto",
) -> Iterator[Guard]:
    """Guard the calls of a diffusers pipeline while the block lasts.

    Args:
        pipe: a text-to-image or image-to-image pipeline of a known family. Other pipelines that
            share its parts are not guarded; guard each.
        layers: text layers that read the benign text, as numbers or text such as `55-57`; `auto`
            takes the localized ones of this checkpoint (`choosing.layers_known`).
        replacements: toxic text → what is to be written; comes before every other rewriting.
        detector: name in `toxicity.DETECTORS`.
        words, allowed: more words to keep out, and words to let through.
        check: read every guarded picture by OCR; where a toxic word still reads, do `fallback`.
        fallback: `refuse` raises; `more-layers` generates the call again with all text layers
            reading the benign text, and swaps the prompt if that fails; `prompt-swap` generates it
            again with the benign prompt. Both begin from the same noise.
        ocr: engine of the check.

    Yields:
        What the guard did.

    Raises:
        CheckpointError: a pipeline of no known family. LayerError: no layers are known for `auto`,
        an unknown layer, or a pipeline that is compiled. GuardError: a pipeline that cannot be
        guarded. Calls raise GuardError where their text is not given as prompts, ToxicityError
        where a text cannot be rewritten, and where the check refuses a picture.
    """
    job = _Job(pipe, layers, replacements, detector, words, allowed, check, fallback, ocr)
    original = type(pipe)

    def call(_self: Any, *args: Any, **kwargs: Any) -> Any:
        return job.call(*args, **kwargs)

    # `pipe(...)` looks its call up in the class
    pipe.__class__ = type(original.__name__, (original,), {"__call__": call})
    try:
        yield job.state
    finally:
        pipe.__class__ = original


class _Job:
    """One guard."""

    def __init__(
        self,
        pipe: Any,
        layers: str | Sequence[int],
        replacements: Mapping[str, str] | None,
        detector: str,
        words: Sequence[str],
        allowed: Sequence[str],
        check: bool,
        fallback: Fallback,
        ocr: str,
    ) -> None:
        from textloc.checkpoints.families import text_layers

        if fallback not in FALLBACKS:
            raise GuardError(f"there is no fallback {fallback!r}; there are {', '.join(FALLBACKS)}")
        self._pipe, self._denoiser = pipe, _denoiser(pipe)
        self._layers = text_layers(self._denoiser)
        check_injectable(self._denoiser, self._layers)
        self.state = Guard(_chosen(pipe, layers, self._layers))
        self._replacements = dict(replacements or {})
        self._detect: dict[str, Any] = {
            "detector": detector,
            "words": tuple(words),
            "allowed": tuple(allowed),
        }
        self._check, self._fallback, self._ocr = check, fallback, ocr
        self._call = type(pipe).__call__
        self._signature = inspect.signature(self._call)
        toxicity.find("", **self._detect)  # a detector that is not there is told of now

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """The pipeline's call, guarded."""
        bound = self._signature.bind(self._pipe, *args, **kwargs)
        asked = bound.arguments
        _check_texts(asked)
        found = self._found(asked)
        if not found:
            return self._call(self._pipe, *args, **kwargs)
        if self._check and asked.get("output_type", "pil") != "pil":
            raise GuardError("the check by OCR reads PIL pictures; leave output_type at 'pil'")
        noise = _Noise(asked.get("generator"))
        result = self._guarded(bound, found, self.state.layers)
        told = list(found.values())
        if self._check:
            result, told = self._checked(bound, found, result, noise)
        self.state.guarded += told
        return result

    def _found(self, asked: Mapping[str, Any]) -> dict[str, Guarded]:
        """The texts that must not be read as they are."""
        found: dict[str, Guarded] = {}
        for name in _PROMPTS:
            given = asked.get(name)
            for place, text in enumerate([given] if isinstance(given, str) else given or ()):
                findings = toxicity.find_in_prompt(text, **self._detect)
                if findings and text not in found:
                    benign = rewrite.rewrite(
                        text, findings, replacements=self._replacements, **self._detect
                    )
                    found[text] = Guarded(text, benign, tuple(findings), place)
        return found

    def _guarded(self, bound: Any, found: Mapping[str, Guarded], layers: Sequence[int]) -> Any:
        """The call with the benign texts in these layers."""
        words: list[Words] = []
        with (
            _listening(self._pipe, found, words),
            injected(self._denoiser, self._layers, layers, words) as state,
        ):
            result = self._call(*bound.args, **bound.kwargs)
        if len(state.seen) < len(words) or not words:
            raise GuardError(
                f"{type(self._pipe).__name__} did not hand its text to the denoiser as it encoded "
                "it, so its picture is withheld; use `textloc.suppress`"
            )
        return result

    # -- the check by OCR ------------------------------------------------------------------

    def _checked(
        self, bound: Any, found: Mapping[str, Guarded], result: Any, noise: _Noise
    ) -> tuple[Any, list[Guarded]]:
        """The result, or what the fallback makes of it, in which no toxic word reads."""
        if not self._reads(result, found):
            return result, list(found.values())
        steps: list[tuple[Fallback, Callable[[], Any]]] = []
        if self._fallback == "more-layers":
            every = range(len(self._layers))
            steps.append(("more-layers", lambda: self._guarded(bound, found, every)))
        if self._fallback != "refuse":
            steps.append(("prompt-swap", lambda: self._swapped(bound, found)))
        for name, again in steps:
            noise.rewind()
            result = again()
            if not self._reads(result, found):
                return result, [replace(told, fallback=name) for told in found.values()]
        raise ToxicityError(
            "a toxic word still reads in a guarded picture, which is withheld; change the prompt, "
            "or give another replacement"
        )

    def _swapped(self, bound: Any, found: Mapping[str, Guarded]) -> Any:
        """The call with the benign prompts in the place of the others."""
        asked = dict(bound.arguments)
        for name in _PROMPTS:
            if asked.get(name) is not None:
                asked[name] = _mapped(asked[name], found)
        pipe = asked.pop("self")
        return self._call(pipe, **asked)

    def _reads(self, result: Any, found: Mapping[str, Guarded]) -> bool:
        """Whether a toxic word reads in a picture, or one that was to be kept out."""
        from textloc.reading import ocr

        pictures = list(result[0] if isinstance(result, tuple) else result.images)
        kept_out = [
            (finding.text, told.written) for told in found.values() for finding in told.findings
        ]
        return any(
            toxicity.is_toxic(reading.text, **self._detect)
            or any(toxicity.same(reading.text, *words) for words in kept_out)
            for reading in ocr.read(pictures, self._ocr)
        )


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
    if others := [part for part in ("controlnet", "adapter") if getattr(pipe, part, None)]:
        raise GuardError(
            f"the {others[0]} of {name} reads the prompt too, past the guarded layers; guard a "
            "pipeline without it"
        )
    return found[0]


def _chosen(pipe: Any, asked: str | Sequence[int], layers: Sequence[TextLayer]) -> tuple[int, ...]:
    if isinstance(asked, str) and asked != "auto":
        return tuple(range(len(layers))) if asked == "all" else parse_layers(asked, len(layers))
    if not isinstance(asked, str):
        check_layers(asked, len(layers))
        if not asked:
            raise LayerError("name at least one layer, or `auto`")
        return tuple(sorted(set(asked)))
    from textloc.checkpoints import families, weights
    from textloc.jobs import choosing

    name = str(getattr(pipe.config, "_name_or_path", "") or "")
    folder = Path(name)
    digest = weights.digest(folder) if (folder / "model_index.json").is_file() else None
    built = families.architecture(_denoiser(pipe), layers)
    found = choosing.layers_known(name, digest, built)
    if found is None:
        raise LayerError(
            f"the layers of {name or type(pipe).__name__} that write words are not known here; "
            "find them by `textloc localize --save`, or name them (layers='55-57')"
        )
    return found[0]


def _check_texts(asked: Mapping[str, Any]) -> None:
    """Text that comes as numbers cannot be read."""
    for name, value in asked.items():
        if value is not None and "prompt_embeds" in name and not name.startswith("negative"):
            raise GuardError(f"{name} cannot be read for toxic words; give the prompt as text")
    for name in _PROMPTS:
        value = asked.get(name)
        given = [value] if isinstance(value, str) else value or []
        if not all(isinstance(text, str) for text in given):
            raise GuardError(f"{name} is neither a text nor a list of texts")


def _mapped(given: Any, found: Mapping[str, Guarded]) -> Any:
    if isinstance(given, str):
        return found[given].benign if given in found else given
    return [found[text].benign if text in found else text for text in given]


@contextmanager
def _listening(pipe: Any, found: Mapping[str, Guarded], words: list[Words]) -> Iterator[None]:
    """Have `encode_prompt` encode the benign texts beside the others; they gather in `words`."""
    original, own = pipe.encode_prompt, vars(pipe).get("encode_prompt")
    signature = inspect.signature(original)

    def encode(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        asked = dict(signature.bind(*args, **kwargs).arguments)
        first = asked.get("prompt")
        count = 1 if isinstance(first, str) or first is None else len(first)
        given = {
            name: [asked[name]] * count if isinstance(asked[name], str) else list(asked[name])
            for name in _PROMPTS
            if asked.get(name) is not None
        }
        places = [i for i in range(count) if any(texts[i] in found for texts in given.values())]
        if not places:
            return result
        for name, texts in given.items():
            asked[name] = [_mapped(texts[i], found) for i in places]
        for name in ("negative_prompt", "negative_prompt_2", "negative_prompt_3"):
            asked.pop(name, None)
        if "do_classifier_free_guidance" in signature.parameters:
            asked["do_classifier_free_guidance"] = False
        if "num_images_per_prompt" in signature.parameters:
            asked["num_images_per_prompt"] = 1
        extra = asked.pop("kwargs", {})
        benign = original(**asked, **extra)
        states, others = result[0], benign[0]
        repeats = len(states) // count
        mask = benign[1] if _masked(pipe) else None
        words.extend(
            Words(states[i * repeats], others[n], None if mask is None else mask[n])
            for n, i in enumerate(places)
        )
        return result

    pipe.encode_prompt = encode
    try:
        yield
    finally:
        if own is None:
            del pipe.encode_prompt
        else:
            pipe.encode_prompt = own


def _masked(pipe: Any) -> bool:
    """Whether the second thing that `encode_prompt` gives is the mask of the text."""
    return "prompt_attention_mask" in inspect.signature(type(pipe).encode_prompt).parameters


class _Noise:
    """The generators of a call, to begin once more from the same noise."""

    def __init__(self, generators: Any) -> None:
        import torch

        given = generators if isinstance(generators, list) else [generators]
        usual = [torch.default_generator, *torch.cuda.default_generators]
        drawn = usual if generators is None else given
        self._states = [(generator, generator.get_state()) for generator in drawn]

    def rewind(self) -> None:
        """Put every generator back to where it was."""
        for generator, state in self._states:
            generator.set_state(state)
