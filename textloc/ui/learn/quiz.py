"""The quiz of the tour: a picture, and the question which layers wrote its word."""

from html import escape

from textloc.reading.metrics import exact_match
from textloc.ui.learn.drawing import picture, prompt, says
from textloc.ui.learn.examples import Example
from textloc.ui.learn.steps import Step


def question(example: Example, first: bool = True) -> Step:
    """Which layers wrote the word of the picture with the selected set patched. Each button
    carries what the page answers, from what the result holds."""
    words, writing = example.words, example.selected
    made, document = example.read(example.chosen), example.document
    plural = len(writing) > 1
    buttons = shots = ""
    for number in example.shown:
        read = example.read(example.layer(number))["text"]
        image = example.read(example.layer(number))["image"]
        right = number in writing
        buttons += (
            f'<button type="button" class="tl-layer" data-guess="{number}" '
            f'data-right="{int(right)}" data-say="{escape(_answer(example, number, read))}" '
            f'aria-label="Layer {number}">{number}</button>'
        )
        shots += picture(
            image,
            f"Layer {number} alone: the picture reads {read or 'nothing'}",
            f"<b>Layer {number} alone</b> {says(read, words['target_text'])}",
            f' data-shown="{number}" hidden',
        )
    shot = picture(
        made["image"],
        f"The picture in question reads {made['text']}",
        f"<b>Written by …?</b> {says(made['text'], words['target_text'])}",
    )
    effect = f"{example.chosen['scores']['effect']:.2f}"
    together = f"Together they wrote {words['target_text']}: their effect is {effect}."
    done = together if plural else ""
    asks = prompt(words["source"], words["source_text"], "source")
    asks += prompt(words["target"], words["target_text"], "target")
    figure = (
        f'<div class="tl-quiz" data-quiz="{len(writing)}" data-done="{escape(done)}" '
        f'style="--n:{len(example.shown)}"><div class="tl-asks">{asks}</div>'
        f'<div class="tl-two">{shot}{shots}<div class="tl-hole" aria-hidden="true">?</div></div>'
        f'<div class="tl-layers" role="group" aria-label="Text layers">{buttons}</div>'
        '<p class="tl-answer" role="status"></p></div>'
    )
    which = f"{len(writing)} of" if plural else "One of"
    opening = "" if first else f"Other words, the same model ({document['checkpoint']['name']}). "
    return Step(
        "Quiz: which layers wrote this?" if plural else "Quiz: which layer wrote this?",
        f"{opening}{which} {example.total} layers read the prompt with {words['target_text']}; the "
        f"others read {words['source_text']}. Click your answer.",
        figure,
    )


def _answer(example: Example, number: int, read: str) -> str:
    """What the page answers to a click on a layer."""
    words, writing = example.words, example.selected
    alone = f"Patched alone, the picture reads {read or 'nothing'}"
    if number not in writing:
        still = "still " if exact_match(read, words["source_text"]) else ""
        said = f"the picture {still}reads {read or 'nothing'}"
        return f"No. With layer {number} patched, {said}."
    if len(writing) == 1:
        effect = f"{example.chosen['scores']['effect']:.2f}"
        return f"Yes, layer {number} wrote {words['target_text']} alone: its effect is {effect}."
    return f"Yes, layer {number} is one of {len(writing)}. {alone}."
