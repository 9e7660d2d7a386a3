"""Pipelines of diffusers that cannot be used, and why."""

from __future__ import annotations

import re

_PICTURE = (
    "it needs a picture beside its prompt, and a run holds none; guard your own calls of it "
    "(`textloc.guard`), or take its weights as a text-to-image pipeline "
    "(`AutoPipelineForText2Image.from_pipe`)"
)
_SECOND = (
    "a second network of it reads the prompt too, past the text layers, so no patch of these is "
    "all of a prompt; take the pipeline without it (`AutoPipelineForText2Image.from_pipe`)"
)
_PRIOR = (
    "the prompt decides an embedding of the picture first (a prior), and what draws the picture "
    "reads no words, so there are no text layers to look for"
)
_VIDEO = "it makes videos, and textloc reads the words of single pictures"

MODULAR = (
    "a modular pipeline is put together from blocks and tells nobody when a step is done; textloc "
    "drives the call of a DiffusionPipeline, so take that of the same weights, where diffusers has "
    "one (it has none of FLUX.3)"
)

REASONS: tuple[tuple[str, str], ...] = (
    ("ModularPipeline$", MODULAR),
    ("ControlNet|Adapter", _SECOND),
    (
        "^QwenImageEditPlus",
        "its call takes one prompt at a time with its pictures, and a patch needs two side by "
        "side; take QwenImageEditPipeline",
    ),
    (
        "Img2Img|ImageToImage|Inpaint|Pix2Pix|Fill|Edit|Upscale|I2I|Depth2Img|SuperResolution"
        "|Redux|Control|Layered",
        _PICTURE,
    ),
    ("^Kandinsky(V22)?(Combined|Prior|Pipeline)|Wuerstchen|Cascade|U[nN]CLIP", _PRIOR),
    ("Video|T2V|I2V|Helios|Wan|LTX|Mochi|Cosmos|Allegro|Latte|Animate|SkyReels", _VIDEO),
    (
        "^StableDiffusion3PAG",
        "its guidance runs a joint attention twice in a pass, for parts of the batch; take its "
        "weights as StableDiffusion3Pipeline (`StableDiffusion3Pipeline.from_pipe`)",
    ),
    (
        "^ZImageOmni",
        "its texts and pictures come in turns, in every row's own order; take its weights as "
        "ZImagePipeline where no picture is given",
    ),
    (
        "^BriaFibo2",
        "it shows the words to its text encoder as pictures and condenses all text before its "
        "layers read it; take Bria FIBO (BriaFiboPipeline)",
    ),
    (
        "^DreamLite",
        "its call takes one prompt at a time, and a patch needs two side by side",
    ),
)
"""Patterns of class names, and why these pipelines cannot be used and what to do instead."""


def reason(name: str) -> str | None:
    """Why pipelines of this class name cannot be used; None where nothing is known against it.

    Classes that have a family are not looked for here, though a pattern may match them.
    """
    return next((why for pattern, why in REASONS if re.search(pattern, name)), None)
