"""What the owner of a page sets."""

import os
import re
from pathlib import Path

import pytest

from tests.ui.made_up import MadeUp
from textloc.errors import SettingError
from textloc.results import cache
from textloc.ui import settings
from textloc.ui.runner import work


def test_a_space_is_public_by_itself() -> None:
    assert settings.read({"SPACE_ID": "x/y"}).public
    assert not settings.read({}).public
    assert settings.read({"TEXTLOC_PUBLIC": "1"}).public
    assert not settings.read({"SPACE_ID": "x/y", "TEXTLOC_PUBLIC": "0"}).public


def test_each_limit_is_a_setting_in_public_and_elsewhere() -> None:
    public, own = settings.read({"SPACE_ID": "x/y"}), settings.read({})
    assert (public.steps, public.upload, public.waiting, public.runs) == (50, 20_000_000, 8, 1)
    assert (own.steps, own.upload, own.body, own.waiting, own.runs) == (1000, *[None] * 4)
    for place in ({}, {"SPACE_ID": "x/y"}):
        given = settings.read({**place, "TEXTLOC_MAX_STEPS": "7", "TEXTLOC_MAX_UPLOAD": "3"})
        assert (given.steps, given.upload) == (7, 3_000_000)


def test_every_variable_is_told_of() -> None:
    told = set(re.findall(r"^\| `(TEXTLOC_\w+)`", settings.__doc__ or "", re.M))
    source = Path(settings.__file__).read_text(encoding="utf-8").split('"""', 2)[2]
    read = {
        f"TEXTLOC_{name.removeprefix('TEXTLOC_')}" for name in re.findall(r'"([A-Z_]{6,})"', source)
    }
    assert read - {"TEXTLOC_SPACE_ID", "TEXTLOC_PROXY"} == told


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TEXTLOC_PUBLIC", "yes"),
        ("TEXTLOC_MAX_STEPS", "0"),
        ("TEXTLOC_MAX_STEPS", "many"),
        ("TEXTLOC_MAX_BODY", "-1"),
        ("TEXTLOC_MAX_SEEDS", "²"),
        ("TEXTLOC_MODELS", "sdxl,nonsense"),
        ("TEXTLOC_LORAS", "/etc"),
    ],
)
def test_what_cannot_be_read_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingError, match=name):
        settings.read({name: value})


def test_models_are_named_as_the_table_names_them() -> None:
    said = "sdxl, stabilityai/stable-diffusion-3-medium-diffusers own/model,sdxl"
    assert settings.read({"TEXTLOC_MODELS": said}).models == ("sdxl", "sd3", "own/model")


def test_nothing_of_a_run_is_kept_in_the_cache_of_a_public_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stands() -> str | None:
        work.to_the_end(MadeUp(), lambda _: None, lambda: True)
        return os.environ.get(cache.VARIABLE)

    monkeypatch.delenv(cache.VARIABLE)
    assert stands() is None
    monkeypatch.setenv("TEXTLOC_PUBLIC", "1")
    assert stands() == "off"
    assert cache.opened() is None
    monkeypatch.setenv(cache.VARIABLE, "/somewhere")
    assert stands() == "/somewhere"
