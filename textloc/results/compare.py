"""Two localizations side by side: has the writing of words moved to other layers?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from textloc.errors import StoreError
from textloc.layers import display_layers
from textloc.results.identity import request_id
from textloc.results.judging import doubt
from textloc.results.result import Result

Document = Mapping[str, Any]


SCHEMA = "textloc.compare/1"


def compared(first: Result, second: Result) -> Result:
    """`drift` of two localizations as a result (`textloc.compare/1`, not stored): beside what
    `drift` gives, `first` and `second` name both, and `doubts` says why one cannot be judged
    (`judging.doubt`; None where it can).

    Raises:
        StoreError: as `drift`.
    """
    found = drift(first.document, second.document)
    request = {"job": "compare", "first": first.id, "second": second.id}
    head = {"schema": SCHEMA, "id": request_id(request), "complete": True, "request": request}
    named = {side: one.document["checkpoint"] for side, one in _sides(first, second)}
    doubts = [doubt(one.document) for one in (first, second)]
    return Result({**head, **named, "doubts": doubts, **found})


def _sides(first: Result, second: Result) -> tuple[tuple[str, Result], ...]:
    return ("first", first), ("second", second)


def drift(first: Document, second: Document) -> dict[str, Any]:
    """What two localizations of the same architecture say of the same layers.

    Returns:
        `names` of both; `readers`, the OCR engines that read their pictures; `layers`: by index
        and name the `values` of both, effects (or, where there is no scale for
        one, OCR F1 to the target) with 95 % intervals, `[value, low, high]`, and `apart`, whether
        the intervals do not overlap; `selected` of both; `overlap`, the share of layers of either
        set that are in both (Jaccard; None where neither has any); `rank_correlation` of the
        effects (Spearman; None for fewer than three layers).

    Raises:
        StoreError: not two localizations, or of other layers.
    """
    from scipy.stats import spearmanr

    for document in (first, second):
        if not str(document.get("schema", "")).startswith("textloc.localize/"):
            raise StoreError("only localizations can be compared; `textloc show` lists them")
    both = [{layer["index"]: layer for layer in one["layers"]} for one in (first, second)]
    common = sorted(set(both[0]) & set(both[1]))
    if not common and all(one.get("text_layers") or one["layers"] for one in (first, second)):
        raise StoreError(
            "no layer was patched alone in both localizations; run them with `--alone all`, or "
            "`--search sweep`"
        )
    if not common or any(both[0][i]["name"] != both[1][i]["name"] for i in common):
        raise StoreError(
            "these two localizations are of different layers; compare a checkpoint with its "
            "fine-tune, over the same layers"
        )
    score = "effect"
    if any(one[i]["scores"].get(score) is None for one in both for i in common):
        score = "ocr_f1_target"
    layers = []
    for index in common:
        values = [_value(one[index]["scores"], score) for one in both]
        layers.append(
            {
                "index": index,
                "name": both[0][index]["name"],
                "values": values,
                "apart": _apart(*values),
            }
        )
    sets = [set(one["selected"]) for one in (first, second)]
    either = sets[0] | sets[1]
    ranks = None
    if len(common) > 2:
        found = spearmanr(*([layer["values"][side][0] for layer in layers] for side in (0, 1)))
        ranks = float(found.statistic)
    return {
        "score": score,
        "names": [_name(first), _name(second)],
        "readers": [_reader(first), _reader(second)],
        "layers": layers,
        "selected": [sorted(one) for one in sets],
        "overlap": len(sets[0] & sets[1]) / len(either) if either else None,
        "rank_correlation": ranks,
    }


def _value(scores: Document, score: str) -> list[float | None]:
    """Value and interval."""
    return [scores[score], scores.get(f"{score}_low"), scores.get(f"{score}_high")]


def _apart(one: list[float | None], other: list[float | None]) -> bool | None:
    """Whether two intervals do not overlap; None where there are none."""
    ends = (one[1], one[2], other[1], other[2])
    if any(end is None for end in ends):
        return None
    return bool(one[2] < other[1] or other[2] < one[1])  # type: ignore[operator]


def _name(document: Document) -> str:
    asked = document["request"]["checkpoint"]
    lora = asked.get("lora")
    return asked["name"] if lora is None else f"{asked['name']} with {lora['name']}"


def _reader(document: Document) -> str | None:
    """Engine and version that read the pictures."""
    asked = document["request"].get("ocr") or {}
    return f"{asked['engine']} {asked['version']}" if asked else None


def table(found: Document) -> str:
    """For a terminal."""
    one, other = found["names"]
    title = "effect" if found["score"] == "effect" else "OCR F1 to the target"
    lines = [f"{title} of each layer: {one}, {other}", ""]
    for layer in found["layers"]:
        cells = [_cell(value) for value in layer["values"]]
        marks = "".join("*" if layer["index"] in chosen else " " for chosen in found["selected"])
        apart = "  apart" if layer["apart"] else ""
        line = (
            f"{layer['index']:>5} {marks}  {cells[0]:>20}  {cells[1]:>20}  {layer['name']}{apart}"
        )
        lines.append(line)
    readers = found["readers"]
    if readers[0] != readers[1]:
        lines += [
            "",
            f"the first was read by {readers[0]}, the second by {readers[1]}; they differ",
        ]
    sets = [display_layers(chosen) or "none" for chosen in found["selected"]]
    lines += ["", f"sets (*): {sets[0]} and {sets[1]}"]
    if found["overlap"] is not None:
        lines[-1] += f", {100 * found['overlap']:.0f} % in common"
    if found["rank_correlation"] is not None:
        lines.append(f"rank correlation of the layers: {found['rank_correlation']:.2f}")
    return "\n".join(lines)


def _cell(value: list[float | None]) -> str:
    mean, low, high = value
    return f"{mean:.2f}" if low is None else f"{mean:.2f} [{low:.2f}, {high:.2f}]"
