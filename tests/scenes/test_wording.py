"""The grammar of prompts."""

from collections.abc import Iterator
from dataclasses import fields, replace

import numpy as np
import pytest

from textloc import prompts
from textloc.scenes import rendering, wording


def _scenes(count: int, held: tuple[str, ...] = ()) -> Iterator[rendering.Scene]:
    rng = np.random.default_rng(7)
    for _ in range(count):
        scene = rendering.sample(rng, "ZEBRAS")
        scene = replace(scene, colour=wording.colour(rng))
        yield replace(scene, wording=wording.wording(rng, scene, held))


def test_every_prompt_asks_for_its_word_once() -> None:
    for scene in _scenes(400):
        assert prompts.quoted(scene.prompt) == ["ZEBRAS"], scene.prompt
        assert scene.prompt.count("ZEBRAS") == 1
        assert scene.prompt == scene.prompt.strip()
        assert "{" not in scene.prompt
        assert "  " not in scene.prompt


def test_what_the_scene_leaves_no_choice_of_is_named() -> None:
    """A colour beside the common ones, a place, a typeface: else chance would decide them."""
    for scene in _scenes(400):
        if scene.colour not in rendering.COLOURS:
            assert scene.colour in scene.prompt
        if scene.position != "middle":
            assert f" at the {scene.position}" in scene.prompt
        if scene.typeface != "sans":
            assert f" in {scene.typeface}" in scene.prompt


def test_a_prompt_that_leaves_something_open_does_not_name_all() -> None:
    scene = rendering.Scene("mug", "red", "MUGS", wording='a cup saying "{word}"')
    assert not wording.names_all(scene)
    assert wording.names_all(replace(scene, wording='a red cup saying "{word}"'))
    assert not wording.names_all(replace(scene, wording='a red cake saying "{word}"'))
    assert not wording.names_all(replace(scene, colour="pink", wording='a pink cup: "{word}"'))


def test_held_out_parts_are_never_drawn() -> None:
    drawn = [scene.prompt for scene in _scenes(2000)]
    held = [*wording.HELD_FIRST, *wording.HELD_LAST, *wording.HELD_BEFORE]
    held += [name for names in wording.HELD_NAMES.values() for name in names]
    for part in held:
        assert not any(part in prompt for prompt in drawn), part
    for part in (*wording.HELD_SAYS, *wording.HELD_SAID):
        text = part.replace("{word}", "ZEBRAS").split("{what}")[0]
        assert not any(text in prompt for prompt in drawn), part


@pytest.mark.parametrize("kind", [field.name for field in fields(wording.Kinds)])
def test_an_evaluation_asks_for_the_held_out_kind(kind: str) -> None:
    for scene in _scenes(30, (kind,)):
        held = getattr(wording.HELD, kind)
        parts = held[scene.object] if kind == "names" else held
        said = [part.replace("{word}", "ZEBRAS").split("{what}")[0] for part in parts]
        assert any(part in scene.prompt for part in said), scene.prompt


def test_no_two_objects_have_a_name_in_common() -> None:
    names = [{*wording.NAMES[kind], *wording.HELD_NAMES[kind]} for kind in rendering.OBJECTS]
    assert len(set.union(*names)) == sum(len(one) for one in names)
    assert not set.union(*names) & set(wording.THINGS)
