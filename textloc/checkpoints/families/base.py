"""What a family says of its denoiser and of its pipelines' calls.

A family is one file with one class of this kind. What it does not say is what most do: the text
states are `encoder_hidden_states`, one prompt a row, an unset negative prompt reads as empty, and
an argument that the call does not take is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from PIL import Image

from textloc.checkpoints.families import common, redrawing
from textloc.errors import PromptError
from textloc.layers import TextChannel, TextLayer
from textloc.runs import Run, Sampling


class Family:
    """Where a denoiser's text layers are, and how runs become its pipeline's call."""

    # -- the denoiser --------------------------------------------------------------------------

    DENOISER = "transformer"
    """Name of the pipeline's component that denoises."""

    TEXT = "encoder_hidden_states"
    """Argument of the forward pass that holds the text states, rows first."""

    TIME = "timestep"
    """Argument of the forward pass that tells the denoising step."""

    SHARED: tuple[str, ...] = ()
    """Arguments of the forward pass that all rows share, though they may be as long as a batch."""

    SECOND: tuple[str, ...] = ()
    """Arguments whose second axis are the rows, or lists of such tensors' layers."""

    LISTS: tuple[str, ...] = ()
    """Arguments that are lists with one tensor a row; what comes out is one too."""

    TEXT_MASK: str | None = None
    """Argument of the forward pass that says which text tokens count (row, token), where there is
    one."""

    BESIDE = False
    """Whether the guard can have another text read from a row added to the pass (`injection`): the
    text states come as `encode_prompt` makes them, and their mask, if any, just after them."""

    RAGGED = False
    """Whether the texts of one guidance pass may be shorter than those of another."""

    MASK_ADDED = False
    """Whether layers are given their text's mask as what is added to the attention: 0 for a token
    that counts, -10,000 for others."""

    def fits(self, denoiser: Any) -> bool:
        """Whether the denoiser, of the right class, has the modules of this family."""
        return True

    def find(self, denoiser: Any) -> list[TextLayer]:
        """The text layers, unordered; `index` is not yet meaningful.

        Raises:
            LayerError: the projections are fused.
        """
        raise NotImplementedError

    def channels(self, denoiser: Any) -> list[TextChannel]:
        """The ways of the text into the denoiser beside the text layers."""
        return []

    def read_text(self, denoiser: Any, states: Any) -> Any:
        """The text states (N, T, D) as static text layers take them, before a norm of their own;
        called only where there are such layers."""
        return states

    def read_layer(self, denoiser: Any, layer: TextLayer, states: Any) -> Any:
        """What `read_text` gave, as the projections of this static layer read it."""
        attention = denoiser.get_submodule(layer.name)
        if getattr(attention, "norm_cross", None) is None:
            return states
        return attention.norm_encoder_hidden_states(states)

    def tokens(self, denoiser: Any, arguments: dict[str, Any]) -> int:
        """Text tokens of layers that also see the picture, in a pass with these arguments."""
        return int(arguments[self.TEXT].shape[1])

    def places(self, denoiser: Any, arguments: dict[str, Any]) -> Any:
        """Places of the text, and of what pads it, among a row's tokens: (row, T), in layers whose
        `place` is `rows`."""
        raise NotImplementedError

    def mend(self, arguments: dict[str, Any]) -> None:
        """Put right, in place, what the pipeline gets wrong about calls of several prompts."""

    def inputs(self, denoiser: Any) -> dict[str, Any]:
        """Keyword arguments of the smallest forward pass, on the denoiser's device and dtype."""
        raise NotImplementedError

    # -- the call ------------------------------------------------------------------------------

    ENCODERS = 1
    """Prompts that the call takes: `prompt`, `prompt_2`, `prompt_3`."""

    LENGTH: int = 512
    """Longest text in tokens, where the call does not say another."""

    GUIDANCE = "guidance_scale"
    """The call's argument for guidance."""

    EXTRA: Mapping[str, Any] = MappingProxyType({})
    """Other arguments of every call, such as those that leave the prompt as it is written."""

    QUOTED: tuple[str, ...] = ()
    """Patterns of the texts that the pipeline itself takes for quoted and reads letter by letter,
    beside the usual quotation marks (`prompts.quotations`); the text is the group that matches."""

    enlarge: Any = None
    """`enlarge(second, runs, images, generators, call)` puts pictures through the pipeline of a
    second stage, with `call` in place of its own defaults; None where the family has none."""

    def prepare(self, pipe: Any) -> dict[str, str | None]:
        """Switch off checkers and watermarks; returns `safety_checker` and `watermark`, each
        "off" where one was switched off and None where there was none."""
        return common.nothing_to_switch_off(pipe)

    def arguments(self, pipe: Any, runs: Sequence[Run], sampling: Sampling) -> dict[str, Any]:
        """The call's arguments, one prompt a row.

        Raises:
            PromptError: prompts that this pipeline does not take, or not side by side.
        """
        asked = common.call(sampling, self.GUIDANCE) | common.prompts(runs, self.ENCODERS)
        taken = common.taken(pipe)
        if "negative_prompt" in taken:
            asked |= self.negative(pipe, runs, sampling)
        elif any(run.negative_prompt is not None for run in runs):
            raise PromptError(f"{type(pipe).__name__} takes no negative prompt; leave it out")
        asked |= self.EXTRA
        if sampling.reference is not None:
            asked |= self.referred(pipe, runs, sampling)
        redrawing.check(pipe, sampling.reference)
        return {name: value for name, value in asked.items() if name in taken}

    def referred(self, pipe: Any, runs: Sequence[Run], sampling: Sampling) -> dict[str, Any]:
        """The picture that all rows are given (`sampling.reference`), as the call takes it.

        Raises:
            PromptError: it takes none.
        """
        if redrawing.redraws(pipe):
            return redrawing.call(pipe, runs, sampling)
        raise PromptError(
            f"{type(pipe).__name__} takes no picture beside its prompt here; leave the picture "
            "out, or take FLUX.1 Kontext or FLUX.2"
        )

    def negative(self, pipe: Any, runs: Sequence[Run], sampling: Sampling) -> dict[str, Any]:
        """The negative prompts of a call that takes them, one a row."""
        return common.negative_prompts_of_all(runs, sampling)

    def readers(self, pipe: Any, sampling: Sampling) -> list[tuple[Any, int]]:
        """The tokenizers that must not cut a prompt off, each with its longest text in tokens."""
        return [(pipe.tokenizer, sampling.text_length or self.LENGTH)]

    LOWERED = False
    """Whether the pipeline lower-cases prompts."""

    def texts(self, pipe: Any, sampling: Sampling) -> list[common.Text]:
        """Which tokenizer makes the text tokens of a layer, in the order of their places; where
        there are two encoders side by side, their tokens share places."""
        return [common.Text("tokenizer", pipe.tokenizer, lowered=self.LOWERED)]

    def encode(self, pipe: Any, pictures: Sequence[Image.Image], sampling: Sampling) -> Any:
        """RGB pictures of the call's size as the clean latents of its denoising loop, one a row."""
        return common.encode(pipe, pictures, sampling)

    # -- a fine-tune ---------------------------------------------------------------------------

    NOISY: str = "hidden_states"
    """Argument of the forward pass that holds the noisy latents."""

    UNGUIDED = 1.0
    """Guidance at which a call asks its denoiser for the prompts alone; of a denoiser that is told
    the guidance, that of the data themselves."""

    EMPTY = True
    """Whether a sample without its caption reads an empty prompt; else what guidance puts before
    the prompts in the batch."""

    def told(self, denoiser: Any, time: Any, latents: Any) -> Any:
        """The scheduler's times (N,) as the forward pass is told them."""
        return time

    def kept(self, given: Mapping[str, Any], count: int) -> dict[str, Any]:
        """What the forward pass is `given` beside latents and time, as tensors with one row a
        prompt; those of `added_cond_kwargs` as `added_cond_kwargs.text_embeds`. count: prompts."""
        return common.kept(given, (self.NOISY, self.TIME), self.SHARED, count)

    def asked(self, denoiser: Any, latents: Any, time: Any, rows: Mapping[str, Any]) -> Any:
        """The forward pass's keyword arguments, as the pipeline's own call gives them, for noisy
        latents (N, ...), the scheduler's times (N,), and rows that were `kept`."""
        given = common.unkept(rows, self.SHARED)
        return {self.NOISY: latents, self.TIME: self.told(denoiser, time, latents), **given}

    def answered(self, output: Any) -> Any:
        """What the forward pass gave as the scheduler's step takes it, (N, ...) as the latents."""
        return output
