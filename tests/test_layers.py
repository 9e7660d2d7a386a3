"""Layer lists as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textloc.errors import LayerError
from textloc.layers import check_layers, format_layers, parse_layers

COUNT = 70
CHOICES = st.lists(st.integers(0, COUNT - 1), min_size=1)


@given(CHOICES)
def test_what_is_written_is_read_back(chosen: list[int]) -> None:
    text = format_layers(chosen)
    assert parse_layers(text, COUNT) == tuple(sorted(set(chosen)))
    assert format_layers(parse_layers(text, COUNT)) == text
    assert len(text) <= len(", ".join(map(str, sorted(chosen))))


@given(CHOICES, st.data())
def test_order_spaces_and_repeats_do_not_matter(chosen: list[int], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations([*chosen, *chosen]))
    spaces = st.sampled_from(["", " ", "  "])
    text = ",".join(f"{data.draw(spaces)}{layer}{data.draw(spaces)}" for layer in shuffled)
    assert parse_layers(text, COUNT) == tuple(sorted(set(chosen)))


@given(st.text("0123456789-, a", max_size=12))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        layers = parse_layers(text, COUNT)
    except LayerError:
        return
    check_layers(layers, COUNT)
    assert layers == tuple(sorted(set(layers)))
    assert layers


@pytest.mark.parametrize(
    ("text", "layers"),
    [("0, 3,7-9", (0, 3, 7, 8, 9)), ("55-57", (55, 56, 57)), ("4-4", (4,)), (" 7 - 8 ", (7, 8))],
)
def test_examples(text: str, layers: tuple[int, ...]) -> None:
    assert parse_layers(text, COUNT) == layers


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot read the layers ''; write numbers and ranges"),
        ("a", "cannot read"),
        ("1-", "cannot read"),
        ("-1", "cannot read"),
        ("1,,2", "cannot read"),
        ("1;2", "cannot read"),
        ("3-1", "'3-1' runs backwards; write 1-3"),
        ("70", "no text layer 70: this model has 70, numbered 0 to 69"),
        ("68-70", "no text layer 70"),
        ("0-999999999999", "no text layer 999999999999"),
    ],
)
def test_bad_lists(text: str, message: str) -> None:
    with pytest.raises(LayerError, match=message):
        parse_layers(text, COUNT)


def test_no_layer_is_written_as_nothing() -> None:
    assert format_layers(()) == ""
    check_layers((), 0)
