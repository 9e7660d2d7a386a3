"""Scenes at more than one size."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from textloc.scenes import rendering


def _array(scene: rendering.Scene, size: int) -> np.ndarray:
    return np.asarray(rendering.render(scene, size), dtype=float)


@pytest.mark.parametrize("name", rendering.OBJECTS)
def test_a_larger_picture_shows_the_same_scene(name: str) -> None:
    """Reduced, it is the small one but for the small things that it has more of."""
    other = next(kind for kind in rendering.OBJECTS if kind != name)
    scene = rendering.Scene(name, "green", "STOP", seed=4)
    small = _array(scene, rendering.SIZE)

    def distance(large: rendering.Scene) -> float:
        image = rendering.render(large, rendering.LARGE)
        assert image.size == (rendering.LARGE, rendering.LARGE)
        return float(np.abs(np.asarray(image.reduce(4), dtype=float) - small).mean())

    same = distance(scene)
    assert 2 * same < distance(replace(scene, object=other))
    assert same < distance(replace(scene, word="WAIT"))


def test_the_word_stands_where_the_small_picture_has_it() -> None:
    scene = rendering.Scene("book", "white", "HELLO", position="top", typeface="serif", seed=2)
    for size in (rendering.SIZE, rendering.LARGE):
        blank = rendering.with_word(scene, " ", 2)
        changed = np.abs(_array(scene, size) - _array(blank, size)).max(2) > 60
        rows, columns = np.nonzero(changed)
        box = np.array([rows.min(), rows.max() + 1, columns.min(), columns.max() + 1])
        found = box * rendering.SIZE / size
        if size == rendering.SIZE:
            expected = found
    assert np.abs(found - expected).max() <= 1.5


def test_small_things_do_not_depend_on_chance() -> None:
    """What the code of the small picture does not hold is at fixed places."""
    scene = rendering.Scene("sign", "red", "STOP", seed=9)
    first, second = (_array(scene, rendering.LARGE) for _ in range(2))
    assert np.array_equal(first, second)
    assert isinstance(rendering.render(scene, 128), Image.Image)


def test_every_colour_can_be_drawn() -> None:
    for colour in rendering.COLOURS | rendering.SHADES:
        rendering.render(rendering.Scene("mug", colour, "TEA"))
    assert not rendering.COLOURS.keys() & rendering.SHADES.keys()
