"""What patching must keep, on random tiny pipelines of the families that came after FLUX.1."""

from __future__ import annotations

import pytest

from tests import tiny_newer, tiny_pipelines
from tests.patching import test_invariants as invariants
from tests.patching.test_invariants import (  # noqa: F401
    SOURCE,
    TOLERANCE,
    apart,
    everything,
    pictures,
    test_every_step_is_no_limit_and_no_step_is_the_source,
    test_everything_patched_is_the_target,
    test_heads_and_tokens_add_up_to_the_layer,
    test_leaving_restores_bit_for_bit,
    test_patching_changes_the_picture_and_no_neighbour,
    test_shared_rows_give_the_same_pictures_and_cost_less,
    whole,
)
from textloc.checkpoints.families import text_channels
from textloc.checkpoints.loading import Model
from textloc.runs import Patch, Run

SINGLE = ("omnigen", "kandinsky5")
"""Pipelines that cannot run in double precision."""


@pytest.fixture(scope="module", params=tiny_newer.cases())
def model(request: pytest.FixtureRequest) -> Model:
    made = tiny_newer.model(request.param)
    return made if request.param in SINGLE else tiny_pipelines.precise(made)


def test_a_text_of_any_length_takes_the_place_of_another(model: Model) -> None:
    """Short for long and long for short, past every length to which texts are padded."""
    short = Run('a "A"', 1)
    runs = [SOURCE, short, SOURCE.patched(whole(model, short)), short.patched(whole(model, SOURCE))]
    (source, small, shortened, lengthened), _ = pictures(model, runs, share=False)
    assert apart(source, small) > 10 * TOLERANCE
    assert apart(shortened, small) < TOLERANCE
    assert apart(lengthened, source) < TOLERANCE


def test_a_channel_alone_changes_the_picture_and_is_no_layer(model: Model) -> None:
    channels = text_channels(model.denoiser)
    longer = Run('a blue mug that says "XYZ" and nothing else at all', 1)
    for channel in channels:
        runs = [SOURCE, longer, SOURCE.patched(Patch((), longer, channels=(channel.name,)))]
        runs.append(SOURCE.patched(Patch(everything(model), longer)))
        (source, target, moved, held), _ = pictures(model, runs)
        assert apart(moved, source) > 10 * TOLERANCE
        assert apart(moved, target) > 10 * TOLERANCE
        assert apart(held, target) > 10 * TOLERANCE


def test_injection_equals_patching(model: Model) -> None:
    if not all(layer.static and layer.mask is None for layer in model.layers):
        pytest.skip("its text keys depend on the picture, or are masked")
    invariants.test_injection_equals_patching(model)


def test_a_row_that_only_gives_its_text_is_not_computed(model: Model) -> None:
    if model.family.TEXT == "input_ids":
        pytest.skip("its pipeline tells all rows the places of the first")
    invariants.test_a_row_that_only_gives_its_text_is_not_computed(model)
