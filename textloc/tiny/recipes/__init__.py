"""How each family of tiny checkpoints is made and trained: one file a family, all the same shape.

A recipe says what the pipeline consists of, and how that pipeline reads a prompt and calls its
denoiser, so that training calls the parts just as the pipeline does.
"""

from __future__ import annotations

from textloc.tiny.recipes.base import Recipe
from textloc.tiny.recipes.deepfloyd_if import DeepFloydIF
from textloc.tiny.recipes.ldm import LDM
from textloc.tiny.recipes.sd3 import SD3
from textloc.tiny.recipes.sdxl import SDXL

__all__ = ["RECIPES", "Recipe"]

RECIPES: dict[str, Recipe] = {"sdxl": SDXL(), "ldm": LDM(), "if": DeepFloydIF(), "sd3": SD3()}
