"""The noise that tells what a prompt leaves open."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from textloc.paths import CHECKPOINTS
from textloc.scenes import rendering, wording
from textloc.tiny import coupling
from textloc.tiny.codec import Codec, Pixels

CODES = {
    "code": lambda: Codec.load(CHECKPOINTS / "tiny-sdxl" / "vae" / "codec.safetensors"),
    "pixels": Pixels,
}


@pytest.fixture(params=CODES)
def code(request: pytest.FixtureRequest) -> Codec | Pixels:
    made: Codec | Pixels = CODES[request.param]()
    return made


def _scenes(count: int, named: bool = True) -> Iterator[rendering.Scene]:
    rng = np.random.default_rng(11)
    for number in range(count):
        scene = rendering.sample(rng, "ZEBRA")
        scene = replace(scene, colour=list(rendering.COLOURS)[number % len(rendering.COLOURS)])
        yield scene if named else replace(scene, wording='a sign saying "{word}"')


def test_the_axes_are_orthonormal(code: Codec | Pixels) -> None:
    axes = coupling.axes(code).flatten(1).double()
    torch.testing.assert_close(axes @ axes.T, torch.eye(len(axes)).double(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("named", [True, False])
def test_what_is_told_is_standard_normal(named: bool) -> None:
    told = coupling.told(list(_scenes(4000, named)), np.random.default_rng(0))
    assert told.mean(0).abs().max() < 0.08  # five standard errors
    assert (told.std(0) - 1).abs().max() < 0.06
    assert (torch.corrcoef(told.T) - torch.eye(told.shape[1])).abs().max() < 0.08


def test_coupled_noise_says_what_is_told_and_nothing_else(code: Codec | Pixels) -> None:
    axes = coupling.axes(code)
    noise = torch.randn(3, *axes.shape[1:], generator=torch.Generator().manual_seed(0))
    told = torch.randn(3, len(axes), generator=torch.Generator().manual_seed(1))
    told[0, 1] = torch.nan
    made = coupling.coupled(noise, told, axes)
    parts = torch.einsum("nchw,kchw->nk", made, axes)
    before = torch.einsum("nchw,kchw->nk", noise, axes)
    assert parts[0, 1] == pytest.approx(float(before[0, 1]), abs=1e-3)
    said = ~told.isnan()
    torch.testing.assert_close(parts[said], told[said], atol=1e-3, rtol=0)
    rest = made - noise - torch.einsum("nk,kchw->nchw", parts - before, axes)
    assert rest.abs().max() < 1e-3


def test_backgrounds_and_open_colours_can_be_read_from_the_noise() -> None:
    axes = [coupling.told([scene], np.random.default_rng(0))[0] for scene in _scenes(60, False)]
    for scene, parts in zip(_scenes(60, False), axes, strict=True):
        bits = [int(part > 0) for part in parts]
        assert bits[0] + 2 * bits[1] == rendering.left_open(scene.seed).background
        assert coupling.CORNERS[bits[3] + 2 * bits[4] + 4 * bits[5]] == scene.colour


def test_corners_are_the_common_colours() -> None:
    assert set(coupling.CORNERS) == set(rendering.COLOURS)


def test_the_axes_are_what_scenes_differ_in() -> None:
    """Scenes drawn with a bit of the background lie further along its axis."""
    code = CODES["code"]()
    axes = coupling.axes(code)
    scenes = list(_scenes(200))
    small = [np.asarray(rendering.render(scene), dtype=np.float32) / 127.5 - 1 for scene in scenes]
    drawn = code.encode(torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2))
    along = torch.einsum("nchw,kchw->nk", drawn, axes)
    grounds = torch.tensor([rendering.left_open(scene.seed).background for scene in scenes])
    for bit in range(2):
        upper = (grounds >> bit & 1).bool()
        assert along[upper, bit].mean() > along[~upper, bit].mean()


def test_a_prompt_names_what_it_names() -> None:
    scene = rendering.Scene("mug", "red", "RED", wording='a cup saying "{word}"')
    assert wording.names_object(scene)
    assert not wording.names_colour(scene)
    said = replace(scene, wording='a cake saying "{word}", red, on a table')
    assert wording.names_colour(said)
    assert not wording.names_object(said)
