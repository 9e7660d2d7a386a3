"""From a text-to-image checkpoint to one whose calls begin from a picture."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from textloc.checkpoints.loading import Model


def drawing_on(model: Model, mask: bool = False) -> Model:
    """The model for calls that begin from a picture, or redraw the part of it under a mask: itself
    where its pipeline takes one, else the pipeline of the same parts that does, where there is one.
    """
    from diffusers import AutoPipelineForImage2Image, AutoPipelineForInpainting

    from textloc.checkpoints import families
    from textloc.checkpoints.families import redrawing

    beside = type(model.family).referred is not families.Family.referred
    if beside or redrawing.redraws(model.pipe):
        return model
    auto = AutoPipelineForInpainting if mask else AutoPipelineForImage2Image
    try:
        pipe = auto.from_pipe(model.pipe)
    except ValueError:  # there is none
        return model
    if type(pipe).__name__ not in families.PIPELINES:
        return model
    pipe.set_progress_bar_config(disable=True)
    family = families.of_pipeline(pipe)
    family.prepare(pipe)
    return replace(model, pipe=pipe, family=family)
