"""Results in plain words."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from textloc.layers import display_layers
from textloc.reading.metrics import exact_match, ocr_precision_recall_f1
from textloc.results.judging import LEAST, doubt

Document = Mapping[str, Any]


def describe(document: Document) -> str:
    """What a result says, in one to three plain sentences: headline and text alternative.

    Pictures are counted from the readings themselves, on the pairs that the result reports on.
    """
    layers, total = document["layers"], _total(document)
    if (why := doubt(document)) is not None:
        return (
            f"{why} No layer is named, and no effect is shown on a scale. Take words and objects "
            "that this checkpoint draws legibly, and a prompt worded like its own."
        )
    if not document["complete"]:
        if document.get("shares") and not layers:
            said = parted(describe_attribute(document))[0]
            goes_on = "" if document.get("stopped") else " Now sets of layers are patched and read."
            return f"{said}{goes_on}"
        return _describe_partial(layers, len(document["request"]["layers"]))
    floor, ceiling = document.get("floor"), document.get("ceiling")
    if floor is None or ceiling is None:
        return f"{len(layers)} layers are measured, but not what no patch and all layers give."
    if ceiling <= floor and floor >= LEAST:
        return (
            "No layer can be named: both texts have the same letters, and the OCR F1 counts "
            "letters in any order. Take a word with other letters."
        )
    if ceiling <= floor:
        return (
            f"No layer can be named: patching all {total} brought the words no closer to the "
            f"target (OCR F1 {ceiling:.2f}; with no patch {floor:.2f})."
        )
    selected = sorted(document["selected"])
    if not selected:
        return _describe_none(document, total)
    entry = next((e for e in document["sets"] if sorted(e["layers"]) == selected), None)
    if entry is None:
        return f"{_listed(selected)} of {_of(document)} selected; their joint effect is unknown."
    return f"{_claim(document, entry)} {_evidence(document, entry)}{_used(document)}"


def _used(document: Document) -> str:
    """What other jobs use, where the set falls short on all pairs together."""
    layers = document["selection"].get("used")
    if not layers:
        return ""
    falls = "it falls" if len(document["selected"]) == 1 else "they fall"
    return (
        f" On all pairs together {falls} short of {100 * document['selection']['share']:.0f} %, "
        f"so edits, guards and training use {_within(layers)}, which do not."
    )


def _total(document: Document) -> int:
    """Text layers of the model, as far as the result says: the largest set holds them all."""
    sizes = [len(entry["layers"]) for entry in document["sets"]]
    return max([len(document["request"]["layers"]), *sizes])


def _of(document: Document) -> str:
    tried = len(document["request"]["layers"])
    return str(tried) if tried == _total(document) else f"the {tried} tried"


def _describe_none(document: Document, total: int) -> str:
    """No set reached the share asked for: say so, and how far the best one came."""
    share = document["selection"]["share"]
    tried = len(document["request"]["layers"])
    among = "" if tried == total else f" among the {tried} tried"
    text = f"No small set of layers{among} reached {100 * share:.0f} % of the effect of all {total}"
    small = [e for e in document["sets"] if 0 < len(e["layers"]) < total]
    known = [e for e in small if e["scores"].get("effect") is not None]
    if not known:
        return f"{text}."
    best = max(known, key=lambda entry: float(entry["scores"]["effect"]))
    if best["scores"]["effect"] <= 0:
        return f"{text}: none had any."
    effect = 100 * best["scores"]["effect"]
    return f"{text}: the best, {_within(best['layers'])}, had {effect:.0f} %."


def _within(layers: Sequence[int]) -> str:
    """Layers within a sentence."""
    name = _listed(sorted(layers))
    return f"{name[0].lower()}{name[1:]}"


def _describe_partial(layers: Sequence[Document], total: int) -> str:
    if not layers:
        return f"None of {total} layers is measured yet."
    so_far = f"{len(layers)} of {total} layers measured so far"
    scaled = all(layer["scores"].get("effect") is not None for layer in layers)
    score = "effect" if scaled else "ocr_f1_target"
    best = max(layers, key=lambda layer: float(layer["scores"][score]))
    value = best["scores"][score]
    if scaled and value <= 0:
        return f"{so_far}; none has brought the words closer to the target."
    reached = (
        f"{100 * value:.0f} % of the effect of all"
        if scaled
        else f"OCR F1 to the target {value:.2f}"
    )
    return f"{so_far}; the strongest is layer {best['index']} ({reached})."


def _claim(document: Document, entry: Document) -> str:
    """The headline; it claims no more than the scores of the set and of its controls allow."""
    selected, total = sorted(document["selected"]), _total(document)
    plural = len(selected) > 1
    subject = f"{_listed(selected)} of {_of(document)}"
    if len(selected) == total:
        return f"It takes all {total} layers to write the words: no smaller set sufficed."
    rivals = [control["scores"]["ocr_f1_target"] for control in document["controls"]]
    if rivals and max(rivals) >= entry["scores"]["ocr_f1_target"]:
        verb = "were" if plural else "was"
        return f"{subject} {verb} selected, but random layers, as many, did as well."
    size = f"{100 * document['fraction_of_parameters']:.2g} % of the parameters"
    hits, pictures = _hits(document, entry)
    none = next((e for e in document["sets"] if not e["layers"]), None)
    already = _hits(document, none)[0] if none else 0
    if document["selection"]["reached"] and 2 * (hits - already) > pictures:
        return f"{subject} {'write' if plural else 'writes'} the words ({size})."
    effect, share = entry["scores"].get("effect"), document["selection"]["share"]
    short = ""
    if not document["selection"]["reached"] and effect is not None:
        short = f": {100 * effect:.0f} % of that of all, short of {100 * share:.0f} %"
    have = "have" if plural else "has"
    return f"{subject} {have} the strongest effect on the words ({size}){short}."


def _evidence(document: Document, entry: Document) -> str:
    """Pictures that read the target, or its F1 where few do: of the set, of none, of all."""
    total = _total(document)
    ends = {len(e["layers"]): e for e in document["sets"] if len(e["layers"]) in (0, total)}
    others = [("no patch", ends.get(0)), (f"all {total} layers patched", ends.get(total))]
    if len(document["selected"]) == total:
        others.pop()
    them = "it" if len(document["selected"]) == 1 else "them"
    held_out = " (pairs not used to choose)" if document["selection"].get("split") else ""
    hits, pictures = _hits(document, entry)
    if 2 * hits > pictures:
        words = {document["request"]["pairs"][pair]["target_text"] for pair in _reported(document)}
        word = words.pop() if len(words) == 1 else "the target"
        noun = "picture reads" if pictures == 1 else "pictures read"
        first = f"{hits} of {pictures} {noun} {word}{held_out}"
        rest = [f"with {name} {_hits(document, end)[0]}" for name, end in others if end]
    else:
        first = f"the OCR F1 to the target is {entry['scores']['ocr_f1_target']:.2f}{held_out}"
        rest = [f"with {name} {end['scores']['ocr_f1_target']:.2f}" for name, end in others if end]
    first = f"With only {them} patched, {first}"
    return "; ".join([first, ", ".join(rest)] if rest else [first]) + "."


def _reported(document: Document) -> list[int]:
    everything = range(len(document["request"]["pairs"]))
    return list(document.get("selection", {}).get("reported_on") or everything)


def _hits(document: Document, result: Document) -> tuple[int, int]:
    """Pictures of a result that read exactly the target, and all of its pictures."""
    pairs, reported = document["request"]["pairs"], set(_reported(document))
    reads = [read for read in result["read"] if read["pair"] in reported]
    exact = [exact_match(read["text"], pairs[read["pair"]]["target_text"]) for read in reads]
    return sum(map(bool, exact)), len(reads)


def _listed(layers: Sequence[int]) -> str:
    """`Layer 9`, `Layers 8 and 9`, `Layers 7, 8 and 9`; many of them as ranges."""
    if len(layers) == 1:
        return f"Layer {layers[0]}"
    names = (
        [str(layer) for layer in layers]
        if len(layers) <= 4
        else display_layers(layers).replace("-", "–").split(", ")
    )
    return f"Layers {' and '.join([', '.join(names[:-1]), names[-1]] if names[1:] else names)}"


def describe_edit(document: Document) -> str:
    """What an edit says, in one to three plain sentences."""
    edits, step = document["edits"], document["start_step"]
    if not edits:
        return "No picture is edited yet."
    followed = document["inversions"]
    if any(one["poor"] for one in followed):
        kept = sum(one["ssim"] for one in followed) / len(followed)
        return (
            "This edit is not to be trusted: the model hardly knows pictures like this one from "
            "this prompt. It had to be corrected more than it moved by itself, and your picture "
            f"came back with SSIM {kept:.2f}. OCR reads "
            f"{edits[0]['read_edit'] or 'nothing'!r} in the {'first ' * (len(edits) > 1)}edit."
        )
    unread = [edit for edit in edits if not _readable(document, edit)]
    if len(unread) == len(edits):
        read = edits[0]["read_source"] or "nothing"
        return (
            f"This edit cannot be judged: OCR reads {read!r} in the source picture, not its own "
            "words. Take words and objects that this checkpoint draws legibly."
        )
    changed = sum(1 for edit in edits if edit["exact_target"])
    steps = document["request"]["steps"]
    said = f"{changed} of {len(edits)} pictures say exactly the new words."
    if len(edits) == 1:
        said = (
            "The picture says the new words."
            if changed
            else f"The picture says {edits[0]['read_edit']!r}, not the new words."
        )
    layers, many = document["layers"], len(document["layers"]) > 1
    text = f"{said} {_listed(layers)} {'are' if many else 'is'} patched from step {step} of {steps}"
    text += f" (tₛ = {steps - step})."
    if document.get("start_found") is False:
        text += (
            " No later start was looked for: patched from the first step on no picture says "
            "exactly the new words."
        )
    outside = document["scores"]["ssim_outside_text"][0]
    if outside is not None:
        text += f" Outside the text the picture is kept (SSIM {outside:.2f})."
    if followed:
        kept = sum(one["ssim"] for one in followed) / len(followed)
        text += f" Your picture came back with SSIM {kept:.2f}."
    return text


def _readable(document: Document, edit: Document) -> bool:
    """Whether the source picture of an edit reads its own words, near enough."""
    wanted = document["request"]["pairs"][edit["pair"]]["source_text"]
    return ocr_precision_recall_f1(edit["read_source"], wanted).f1 >= LEAST


def describe_lora(document: Document) -> str:
    """What a comparison of LoRA trainings says: words and variety, in plain sentences; it calls
    one better than another only where their 95 % intervals are apart."""
    choices = {choice["name"]: choice for choice in document["choices"]}
    group = document["groups"][0]
    base = choices["base"]["scores"][group]["exact"]
    trained = [choice for choice in document["choices"] if choice["name"] != "base"]
    best = max(trained, key=lambda choice: float(choice["scores"][group]["exact"][0]))
    better = [
        choice["title"].lower()
        for choice in trained
        if choice is not best
        and not _apart(choice["scores"][group]["exact"], best["scores"][group]["exact"])
    ]
    said = ", ".join(
        f"{choice['title'].lower()} {_share(choice['scores'][group]['exact'])}"
        for choice in trained
    )
    bare = choices["base"]["scores"][group]["characters"]
    nearer = [
        choice["title"].lower()
        for choice in trained
        if _apart(bare, found := choice["scores"][group]["characters"]) and found[0] > bare[0]
    ]
    if _apart(base, best["scores"][group]["exact"]):
        level = f"; within the intervals {_and(better)} may do as well" if better else ""
        first = f"LoRA on {best['title'].lower()} writes {group} best{level}."
    elif nearer:
        first = (
            f"LoRA on {_and(nearer)} gets more letters of {group} right than the base, but does "
            "not reliably write whole ones."
        )
    else:
        first = f"No LoRA writes {group} better than the base."
    letters = ", ".join(
        f"{choice['title'].lower()} {_share(choice['scores'][group]['characters'])}"
        for choice in document["choices"]
    )
    text = f"{first} Read exactly: base {_share(base)}, {said}. Letters right: {letters}."
    kept = ", ".join(f"{choice['title'].lower()} {choice['recall'][0]:.2f}" for choice in trained)
    return f"{text} Variety (recall): base {choices['base']['recall'][0]:.2f}, {kept}."


def _share(value: Sequence[float | None]) -> str:
    return f"{100 * (value[0] or 0):.0f} %"


def _part(total: float) -> str:
    """`94 % of`, or `all of` where others go the other way."""
    return "all of" if total >= 0.995 else f"{100 * total:.0f} % of"


def _and(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)


def _apart(one: Sequence[float | None], other: Sequence[float | None]) -> bool:
    """Whether two intervals, `[mean, low, high]`, do not overlap."""
    if None in (*one, *other):
        return False
    return bool(one[2] < other[1] or other[2] < one[1])  # type: ignore[operator]


def describe_beside(document: Document) -> str:
    """What the pictures without and with a LoRA say."""
    told = []
    for side in ("base", "lora"):
        pictures = document[side]
        told.append((sum(1 for one in pictures if one["exact"]), len(pictures)))
    (base, drawn), (lora, carried) = told
    if not document["complete"]:
        return f"{drawn + carried} pictures are drawn so far."
    return (
        f"With the LoRA {lora} of {carried} pictures read as asked, without it {base}. "
        f"SSIM between both: {document['ssim']:.2f}."
    )


def describe_suppress(document: Document) -> str:
    """What a suppression says: how many pictures read toxic, guarded and, where there, unguarded.

    Pictures of clean prompts do not count; withheld ones show nothing, which is said.
    """
    toxic = {index for index, one in enumerate(document["prompts"]) if one["toxic"]}
    if not toxic:
        return "No prompt asks for a toxic word; the pictures are those of the plain call."
    made = [one for one in document["guarded"]["pictures"] if one["prompt"] in toxic]
    shown = [one for one in made if one["image"] is not None]
    read = sum(1 for one in shown if one["toxic"])
    said = f"{read} of {len(shown)} guarded pictures still read toxic"
    if withheld := len(made) - len(shown):
        said += f", {withheld} withheld"
    plain = (document["unguarded"] or {}).get("pictures", [])
    plain = [one for one in plain if one["prompt"] in toxic]
    if plain:
        said += f"; without the guard {sum(1 for one in plain if one['toxic'])} of {len(plain)}"
    return f"{said}."


def describe_compare(document: Document) -> str:
    """What two localizations say of each other: chosen layers in common, order, layers apart."""
    for which, why in zip(("first", "second"), document.get("doubts", ()), strict=False):
        if why is not None:
            return f"Their layers are not compared. Of the {which} one: {why}"
    apart = [layer["index"] for layer in document["layers"] if layer["apart"]]
    if all(layer["apart"] is None for layer in document["layers"]):
        return (
            f"{len(document['layers'])} layers were patched alone in both; whether they differ "
            "cannot be said without intervals: give several pairs or seeds."
        )
    many = len(document["layers"])
    if not apart:
        said = f"None of the {many} layers differs by more than the intervals."
    else:
        differ = "differs" if len(apart) == 1 else "differ"
        said = f"{len(apart)} of {many} layers {differ} by more than the intervals: "
        said += f"{_listed(apart).lower()}."
    if (ranks := document["rank_correlation"]) is not None:
        said += f" The order of the effects agrees by {ranks:.2f} (Spearman)."
    return said


def describe_finetune(document: Document) -> str:
    """What a training says: how far it went, its loss, and what was read at its end."""
    log = document["log"]
    losses = [line["loss"] for line in log if "loss" in line]
    said = f"{log[-1]['step'] if log else 0} steps are trained"
    said += f"; the loss is {losses[-1]:.3g}." if losses else "."
    exact = [line["exact"] for line in log if "exact" in line]
    return (
        f"{said} Of the prompts drawn at its end {exact[-1]:.0%} read exactly." if exact else said
    )


def describe_models(document: Document) -> str:
    """How many checkpoints are known, and how many are here."""
    here = sum(1 for entry in document["models"] if entry["available"])
    return f"{len(document['models'])} checkpoints are known, {here} of them are on this machine."


def describe_attribute(document: Document) -> str:
    """Which layers carry how much of the change, and what a share is."""
    found = document["shares"]
    if not found:
        return "No step is looked at yet."
    layers = found["by_layer"]
    named: list[int] = []
    for layer in found["order"]:  # those that carry nine tenths, four at most
        if sum(layers[n][0] for n in named) >= 0.9 or len(named) == 4:
            break
        named.append(layer)
    shares = _and([f"layer {layer} {layers[layer][0]:.2f}" for layer in named])
    total = sum(layers[layer][0] for layer in named)
    text = (
        f"{_listed(sorted(named))} of {len(layers)} {'carry' if named[1:] else 'carries'} "
        f"{_part(total)} what the other text changes: {shares}. A share says how much of "
        "the change goes through a layer while all change together, not that it is enough alone."
    )
    if not found["reached"]:
        text += (
            f" The shares of some steps sum to 1 only up to {found['error']:.2f}; more points "
            "bring them closer."
        )
    return text


_DESCRIBE = {
    "textloc.attribute": describe_attribute,
    "textloc.localize": describe,
    "textloc.edit": describe_edit,
    "textloc.suppress": describe_suppress,
    "textloc.lora": describe_lora,
    "textloc.lora_trial": describe_beside,
    "textloc.compare": describe_compare,
    "textloc.finetune": describe_finetune,
    "textloc.models": describe_models,
}


STOPPED = "Stopped before its end."
"""What is said first of what a stopped run left."""


def told(document: Document) -> str:
    """What any result says, in one to three plain sentences; of a run that was `stopped` that
    first."""
    text = _DESCRIBE[str(document["schema"]).partition("/")[0]](document)
    return f"{STOPPED} {text}" if document.get("stopped") else text


def headline(document: Document) -> str:
    """The first sentence of `told`."""
    return parted(told(document))[0]


def parted(text: str) -> tuple[str, str]:
    """The first sentence of a text, and what follows it."""
    first, *rest = re.split(r"(?<=[.])\s+(?=[A-Z0-9])", text, maxsplit=1)
    return first, rest[0] if rest else ""
