"""The LoRA in a denoiser: put in, averaged, written as a file that diffusers loads.

LoRA: Hu et al., ICLR 2022. The modules are those of the chosen text layers: the queries and the
output of the attention, and the projections that make its text keys and values (`add_k_proj` and
`add_v_proj` where text is joined to the picture, as in DeepFloyd IF and SD3).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.nn import Linear, Parameter

from textloc.checkpoints.loras import FILE
from textloc.errors import TrainingError
from textloc.layers import check_layers
from textloc.runs import Sampling

if TYPE_CHECKING:
    from textloc.checkpoints.loading import Model
    from textloc.finetuning.settings import Settings

_FUSED = "to_qkv_mlp_proj"  # of FLUX.2's later blocks: all of an attention by one layer
NAME = "default"
"""Of the adapter while it is trained."""


def modules(model: Model, layers: Iterable[int] | None, targets: Iterable[str]) -> list[str]:
    """Dotted names of the linear modules that are trained, in order.

    Args:
        layers: text layers; None names every attention of the denoiser. targets: of
            `settings.TARGETS`.

    Raises:
        LayerError: a layer that the model does not have. TrainingError: no module is left.
    """
    wanted = set(targets)
    found: list[str] = []
    if layers is None:
        found = [name for name, role in _every(model.denoiser) if role in wanted]
    else:
        chosen = tuple(sorted(set(layers)))
        check_layers(chosen, len(model.layers))
        for index in chosen:
            layer = model.layers[index]
            roles = {"q": f"{layer.name}.to_q", "k": layer.key, "v": layer.value}
            roles["out"] = f"{layer.name}.to_out.0"
            found += [name for role, name in roles.items() if role in wanted]
    present = dict(model.denoiser.named_modules())
    linear = [n for n in found if n in present and isinstance(_base(present[n]), Linear)]
    found = list(dict.fromkeys(linear))  # keys and values of one projection
    if not found:
        raise TrainingError(
            f"the chosen layers of {model.name} have none of {', '.join(sorted(wanted))}; choose "
            "other layers or targets"
        )
    return found


def _base(module: Any) -> Any:
    """A module without the LoRA around it."""
    return getattr(module, "base_layer", module)


def _every(denoiser: Any) -> Iterator[tuple[str, str]]:
    """Every projection of every attention, with its role."""
    roles = {
        "q": ("to_q", "add_q_proj"),
        "k": ("to_k", "add_k_proj", _FUSED),
        "v": ("to_v", "add_v_proj"),
        "out": ("to_out.0", "to_add_out"),
    }
    for name, module in denoiser.named_modules():
        if any(hasattr(module, own) for own in ("to_k", "add_k_proj", _FUSED)):
            for role, leaves in roles.items():
                yield from ((f"{name}.{leaf}", role) for leaf in leaves)


def inject(model: Model, settings: Settings) -> list[Parameter]:
    """Freeze the denoiser and put an untrained LoRA into it, which changes nothing yet.

    Returns:
        The parameters of the LoRA, in float32, in order.
    """
    import torch
    from diffusers.training_utils import cast_training_params
    from peft import LoraConfig

    denoiser = model.denoiser
    names = modules(model, settings.layers, settings.targets)
    denoiser.requires_grad_(False)
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        denoiser.add_adapter(
            LoraConfig(
                r=settings.rank,
                lora_alpha=settings.rank,
                target_modules=names,
                init_lora_weights="gaussian",
            ),
            adapter_name=NAME,
        )
    cast_training_params(denoiser, torch.float32)
    return [parameter for parameter in denoiser.parameters() if parameter.requires_grad]


def state(model: Model) -> dict[str, Tensor]:
    """The weights of the LoRA by the names that peft gives them."""
    from peft import get_peft_model_state_dict

    return {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in get_peft_model_state_dict(model.denoiser, adapter_name=NAME).items()
    }


def write(model: Model, folder: Path) -> Path:
    """Write the LoRA by the pipeline's own `save_lora_weights`; returns the file."""
    kind = model.family.DENOISER
    config = model.denoiser.peft_config[NAME].to_dict()
    type(model.pipe).save_lora_weights(
        folder,
        **{
            f"{kind}_lora_layers": state(model),
            f"{kind}_lora_adapter_metadata": _plain(config),
        },
    )
    return folder / FILE


def _plain(config: dict[str, Any]) -> dict[str, Any]:
    """A LoRA's configuration as JSON holds it; its sets sorted."""
    return {
        name: sorted(value) if isinstance(value, set) else value for name, value in config.items()
    }


@contextmanager
def averaged(ema: Any, parameters: list[Parameter]) -> Iterator[None]:
    """The averaged weights in place of the trained ones while the block lasts."""
    ema.store(parameters)
    ema.copy_to(parameters)
    try:
        yield
    finally:
        ema.restore(parameters)


def size(sampling: Sampling, resolution: int | None) -> Sampling:
    """The call with pictures of this side, or of its own."""
    from dataclasses import replace

    if resolution is None:
        return sampling
    return replace(sampling, height=resolution, width=resolution)
