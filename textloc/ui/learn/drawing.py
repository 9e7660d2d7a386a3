"""Pictures of the tour as HTML: prompts, layers and what they write. What comes from outside is
escaped.

Pictures are named by `data-picture`, so that each is sent once; `static/learn.js` puts them in.
"""

from collections.abc import Sequence
from html import escape

from textloc.layers import display_layers
from textloc.ui.learn.examples import Example
from textloc.ui.letters import marked
from textloc.ui.stored import Document


def prompt(text: str, word: str, side: str) -> str:
    """A prompt with its quoted word in the colour of its side, `source` or `target`."""
    before, found, after = text.rpartition(word)
    coloured = f"{escape(before)}<b>{escape(found)}</b>{escape(after)}" if found else escape(text)
    return f'<p class="tl-ask tl-{side}">{coloured}</p>'


def picture(key: str, alternative: str, caption: str, more: str = "") -> str:
    """A picture with words below it; `more` are attributes of its figure."""
    return (
        f'<figure class="tl-shot"{more}><img data-picture="{escape(key)}" '
        f'alt="{escape(alternative)}"><figcaption>{caption}</figcaption></figure>'
    )


def says(read: str, wanted: str) -> str:
    """What OCR reads, letter by letter."""
    return f'<span class="tl-label">OCR reads</span> {marked(read, wanted)}'


def many(numbers: Sequence[int]) -> str:
    """`layer 9`, `layers 7–9`."""
    return f"layer{'s' if len(numbers) > 1 else ''} {display_layers(numbers)}"


def flow(example: Example) -> str:
    """All layers read the source prompt, and the picture says its word."""
    words, read = example.words, example.read(example.document["references"]["source"])
    layers = example.shown
    asks = prompt(words["source"], words["source_text"], "source")
    marks = "".join(f'<span class="tl-layer tl-source">{number}</span>' for number in layers)
    shot = picture(
        read["image"],
        f"The picture reads {read['text']}",
        says(read["text"], words["source_text"]),
    )
    return (
        f'<div class="tl-flow" style="--n:{len(layers)}"><div class="tl-asks">{asks}</div>'
        f"{_lines(layers, one=True)}"
        f'<div class="tl-layers" role="img" aria-label="{len(layers)} text layers, all of which '
        f'read the source prompt">{marks}</div>{_lines(layers, one=True, out=True)}{shot}</div>'
    )


def patching(example: Example) -> str:
    """The same, where a layer that is pressed reads the target prompt."""
    words, layers = example.words, example.shown
    source = example.read(example.document["references"]["source"])
    shots = [_shot(example, "", "Nothing is patched", source)]
    buttons = ""
    for number in layers:
        read = example.read(example.layer(number))
        shots.append(_shot(example, str(number), f"Layer {number} patched", read))
        buttons += (
            f'<button type="button" class="tl-layer" data-choice="{number}" '
            f'data-layers="{number}" aria-pressed="false" aria-label="Patch layer {number}">'
            f"{number}</button>"
        )
    together = ""
    if len(example.selected) > 1:
        name, listed = many(example.selected), " ".join(map(str, example.selected))
        read = example.read(example.chosen)
        shots.append(_shot(example, "set", f"{name.capitalize()} patched", read))
        together = (
            f'<p><button type="button" class="tl-together" data-choice="set" '
            f'data-layers="{listed}" aria-pressed="false">Patch {name} together</button></p>'
        )
    asks = prompt(words["source"], words["source_text"], "source")
    asks += prompt(words["target"], words["target_text"], "target")
    return (
        f'<div class="tl-flow" data-patching style="--n:{len(layers)}">'
        f'<div class="tl-asks">{asks}</div>{_lines(layers)}'
        f'<div class="tl-layers" role="group" aria-label="Text layers">{buttons}</div>{together}'
        f"{_lines(layers, one=True, out=True)}{''.join(shots)}</div>"
    )


def _shot(example: Example, choice: str, name: str, read: Document) -> str:
    words = example.words
    wanted = words["target_text"] if choice else words["source_text"]
    shown = f' data-shown="{choice}"' + (" hidden" if choice else "")
    text = read["text"] or "nothing"
    caption = f"<b>{escape(name)}</b> {says(read['text'], wanted)}"
    return picture(read["image"], f"{name}: the picture reads {text}", caption, shown)


def _lines(layers: Sequence[int], one: bool = False, out: bool = False) -> str:
    """Lines from the prompts down to the layers, or from the layers to the picture."""
    count, paths = len(layers), ""
    starts = {"source": 0.5} if one else {"source": 0.25, "target": 0.75}
    for place, number in enumerate(layers):
        for side, share in starts.items():
            ends = [count * share, place + 0.5]
            top, below = reversed(ends) if out else ends
            name = "out" if out else side
            paths += (
                f'<path class="tl-line-{name}" data-layer="{number}" '
                f'd="M{top:g} 0C{top:g} 6 {below:g} 4 {below:g} 10"/>'
            )
    return (
        f'<svg class="tl-lines" viewBox="0 0 {count} 10" preserveAspectRatio="none" '
        f'aria-hidden="true">{paths}</svg>'
    )


def bars(example: Example) -> str:
    """The effect of each layer alone, those of the set in colour."""
    layers = sorted(example.document["layers"], key=lambda layer: int(layer["index"]))
    known = [layer for layer in layers if layer["scores"].get("effect") is not None]
    few = len(known) <= 16
    columns = ""
    for layer in known:
        number, effect = int(layer["index"]), float(layer["scores"]["effect"])
        writes = number in example.selected
        value = f"<i>{effect:.2f}</i>" if writes or few else ""
        label = f"<span>{number}</span>" if writes or few else ""
        high = max(0.0, min(1.0, effect))
        columns += (
            f'<div class="tl-column{" tl-target" if writes else ""}">'
            f'<div class="tl-beam" style="--effect:{high:.3f}">{value}</div>{label}</div>'
        )
    told = ", ".join(f"layer {one['index']} {one['scores']['effect']:.2f}" for one in known)
    return (
        f'<div class="tl-map" role="img" aria-label="Effect of each layer alone: {told}">'
        f'<div class="tl-scale" aria-hidden="true"><span>1</span><span>0</span></div>'
        f'<div class="tl-beams" aria-hidden="true">{columns}</div></div>'
        '<p class="tl-axis" aria-hidden="true">text layer</p>'
    )
