"""What a recipe is."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from textloc.scenes import rendering

CALL = {
    "num_inference_steps": 20,
    "guidance_scale": 3.0,
    "height": rendering.LARGE,
    "width": rendering.LARGE,
}
"""Arguments of the usual call that the families with an autoencoder share."""

OUTSIDE = -100
"""Place of a token that is not judged (`Recipe.places`)."""


class Recipe(Protocol):
    """One family.

    `parts` are the components by name or, in the methods that compute, anything that has the
    networks among them as attributes.
    """

    name: str
    pipeline_class: str
    call: dict[str, Any]
    """Arguments of the pipeline's usual call."""

    latent: bool
    """Whether the denoiser works on the picture code, or else on pixels."""

    empty: bool
    """Whether an unset negative prompt is read as an empty one, or else gives zero states."""

    states: int
    """Width of the text states."""

    pooled_module: str | None
    """Module of the denoiser whose output is a pooled text state that it makes itself."""

    features: tuple[str, int]
    """Module whose output `picture_features` takes, and how many channels it has."""

    def components(self, seed: int) -> dict[str, Any]:
        """Untrained parts of the pipeline without the autoencoder."""

    def pipeline(self, parts: dict[str, Any], vae: Any) -> Any:
        """The pipeline of trained parts."""

    def tokenize(self, parts: dict[str, Any], prompts: list[str]) -> Tensor:
        """Token IDs (N, L), padded as the pipeline pads; those of several encoders side by side
        where their states stand side by side."""

    def places(self, parts: dict[str, Any], tokens: Tensor) -> Tensor:
        """The place in the word of every token, (N, L): 0 outside of the quotation marks, else
        from 1; `OUTSIDE` where tokens do not spell."""

    def text(self, parts: Any, tokens: Tensor) -> tuple[Tensor, Tensor | None]:
        """Text states (N, L, D) and, where there is one, the pooled state (N, P)."""

    def level(self, parts: dict[str, Any], t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Signal and noise (N,) and the denoiser's time (N,) of noise levels t (N,) in (0, 1]."""

    def denoise(
        self, parts: Any, noisy: Tensor, time: Tensor, states: Tensor, pooled: Tensor | None
    ) -> Tensor:
        """The denoiser's output (N, C, h, w), as the scheduler takes it."""

    def clean(self, output: Tensor, noisy: Tensor, sigma: Tensor) -> Tensor:
        """The clean code that an output stands for; sigma (N, 1, 1, 1) is the noise in `noisy`."""

    def picture_features(self, output: Any) -> Tensor:
        """The denoiser's last features (N, C, h, w) in what the module of `features` puts out."""


def padded(tokenizer: Any, prompts: list[str]) -> Tensor:
    """Token IDs (N, L), padded and cut to the tokenizer's length."""
    encoded = tokenizer(
        prompts,
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    )
    ids: Tensor = encoded.input_ids
    return ids


def between(tokens: Tensor, mark: int) -> Tensor:
    """Number from 1 the tokens (N, L) between the two that are `mark`; 0 elsewhere, and `OUTSIDE`
    in rows with another number of marks."""
    marks = tokens == mark
    inside = (marks.cumsum(1) == 1) & ~marks
    return (inside.cumsum(1) * inside).masked_fill((marks.sum(1) != 2)[:, None], OUTSIDE)


class SamplePrediction:
    """Denoisers that predict the clean code, on the schedule of `parts["scheduler"]`."""

    def level(self, parts: dict[str, Any], t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of the scheduler's discrete steps."""
        alphas = parts["scheduler"].alphas_cumprod.to(t.device)
        step = (t * len(alphas)).ceil().long().clamp(1, len(alphas)) - 1
        return alphas[step].sqrt(), (1 - alphas[step]).sqrt(), step

    def clean(self, output: Tensor, noisy: Tensor, sigma: Tensor) -> Tensor:
        """The output itself."""
        return output

    def picture_features(self, output: Any) -> Tensor:
        """Those of a block of a U-Net."""
        features: Tensor = output
        return features
