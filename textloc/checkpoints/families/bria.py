"""Bria 3.2: a T5 text encoder; two streams, then one.

Reads `diffusers.BriaTransformer2DModel`, which is laid out as Ovis-Image's. Tokens are
[text, image], all texts as long, padding not masked. Guidance is a second half of the batch.
"""

from __future__ import annotations

from textloc.checkpoints.families.ovis_image import OvisImage


class Bria(OvisImage):
    """Bria 3.2."""

    LENGTH = 128
