"""Fidelity and variety of pictures: improved precision and recall.

Kynkäänniemi et al., NeurIPS 2019. Each set of features is taken for a manifold: balls around its
points, each as wide as the way to the k-th nearest neighbour within the set. Precision is the share
of the generated that lie in the manifold of the reference (fidelity), recall the share of the
reference that lie in that of the generated (variety: it falls where kinds of pictures are no longer
made).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from textloc.checkpoints.loras import bare
from textloc.errors import CheckpointError

if TYPE_CHECKING:
    from textloc.checkpoints.loading import Model

K = 3
"""Nearest neighbour that the balls reach to, the paper's."""

CLIP = "openai/clip-vit-base-patch32"
_LEVEL = 0.1  # of the noise that own features look through
_AT_ONCE = 32

Features = NDArray[np.float64]
"""(N, D), one row a picture."""


class Fidelity(NamedTuple):
    """Precision and recall, each in [0, 1]."""

    precision: float
    recall: float


def precision_recall(reference: Features, generated: Features, k: int = K) -> Fidelity:
    """Improved precision and recall of generated features to reference features.

    Args:
        reference, generated: (N, D) and (M, D). k: below the size of both.

    Raises:
        ValueError: too few rows for k, or not the same D.
    """
    inside = within(reference, generated, k), within(generated, reference, k)
    return Fidelity(*(float(found.mean()) for found in inside))


def within(manifold: Features, points: Features, k: int = K) -> NDArray[np.bool_]:
    """Which points (M,) lie in the manifold of features (N, D); as `precision_recall`."""
    from scipy.spatial.distance import cdist

    if not 0 < k < len(manifold):
        raise ValueError(f"k = {k} needs more than {k} features, not {len(manifold)}")
    among = np.sort(cdist(manifold, manifold), axis=1)  # the first of each row is itself
    return np.asarray((cdist(points, manifold) <= among[:, k]).any(axis=1))


def features(images: Sequence[Image.Image], model: Model | None = None) -> tuple[Features, str]:
    """Features of pictures, and what they are: CLIP's where its weights are on this machine, else
    those of `model`'s denoiser (`own`).

    Raises:
        CheckpointError: no weights of CLIP, and no model.
    """
    try:
        return _clip(images), f"CLIP ({CLIP})"
    except CheckpointError:
        if model is None:
            raise
    return own(images, model), f"the denoiser of {model.name}, at noise level {_LEVEL}"


def own(images: Sequence[Image.Image], model: Model) -> Features:
    """Features of a checkpoint's own denoiser, (N, 2 C): of each picture with a little noise, the
    same for all, and no caption, mean and spread over places of what its middle block gives.

    The activations of a diffusion model tell what a picture shows (Tang et al., NeurIPS 2023). A
    LoRA that it carries is left out, so that all pictures are looked at alike.
    """
    import torch

    from textloc.finetuning.conditions import check_trained, unconditional
    from textloc.finetuning.objective import Objective

    check_trained(model.pipe)
    objective = Objective(model.pipe.scheduler)
    empty = unconditional(model, model.defaults)
    seen: list[Any] = []
    block = _middle(model)
    handle = block.register_forward_hook(lambda _m, _a, output: seen.append(_picture(output)))
    try:
        with torch.no_grad(), bare(model):
            for first in range(0, len(images), _AT_ONCE):
                some = list(images[first : first + _AT_ONCE])
                clean = model.family.encode(model.pipe, some, model.defaults)
                noise = torch.randn(clean.shape[1:], generator=torch.Generator().manual_seed(0))
                noise = noise.to(clean).expand_as(clean)
                batch = objective.noised(clean, noise, torch.full((len(some),), _LEVEL))
                rows = {k: v.expand(len(some), *v.shape[1:]) for k, v in empty.items()}
                given = model.family.asked(model.denoiser, batch.latents, batch.time, rows)
                model.denoiser(**given, return_dict=False)
    finally:
        handle.remove()
    return np.concatenate([value.double().cpu().numpy() for value in seen])


def _middle(model: Model) -> Any:
    """The middle block of a U-Net, or the one that the middle text layer of a transformer is in."""
    denoiser = model.denoiser
    if getattr(denoiser, "mid_block", None) is not None:
        return denoiser.mid_block
    layer = model.layers[len(model.layers) // 2]
    return denoiser.get_submodule(layer.name.rpartition(".")[0])


def _picture(output: Any) -> Any:
    """Mean and spread over places of a block's output: (N, C, h, w), tokens (N, L, C), or text and
    picture tokens of a joint block."""
    found = output[-1] if isinstance(output, tuple) else output
    places = found.flatten(2) if found.ndim == 4 else found.transpose(1, 2)
    return _joined(places.mean(2), places.std(2))


def _joined(*parts: Any) -> Any:
    import torch

    return torch.cat(parts, 1)


def _clip(images: Sequence[Image.Image]) -> Features:
    """CLIP's image embeddings of length 1, (N, 512)."""
    import torch

    from textloc.reading.metrics import clip

    network, processor = clip(CLIP)
    found = []
    for first in range(0, len(images), _AT_ONCE):
        some = [image.convert("RGB") for image in images[first : first + _AT_ONCE]]
        with torch.inference_mode():
            inputs = processor(images=some, return_tensors="pt")
            embedded = network.get_image_features(**inputs)
            embedded = getattr(embedded, "pooler_output", embedded)
        found.append(torch.nn.functional.normalize(embedded, dim=1).double().numpy())
    return np.concatenate(found)
