"""From a document of `textloc.jobs.suppress` to what its tab shows; no Gradio, no torch.

The documents name toxic words masked. Every function takes complete and partial documents, and
escapes what comes from outside.
"""

from collections.abc import Sequence
from html import escape
from typing import Any

from textloc import toxicity
from textloc.errors import TextlocError
from textloc.layers import display_layers
from textloc.prompts import quoted
from textloc.results import report
from textloc.results.picks.suppress import GUARDED as GUARDED
from textloc.results.picks.suppress import choices as choices
from textloc.results.picks.suppress import entries as entries
from textloc.results.picks.suppress import name_of as name_of
from textloc.results.picks.suppress import usual_pick as usual_pick
from textloc.results.sentences import STOPPED
from textloc.toxicity import rewrite
from textloc.ui import html, status
from textloc.ui.html import number
from textloc.ui.plain_picks import meant as meant
from textloc.ui.plain_picks import said as said
from textloc.ui.plain_picks import usual_pair as usual_pair
from textloc.ui.stored import Document, View

# ---------------------------------------------------------------------------- words


def found(prompt: str, replacement: str = "", **detect: Any) -> tuple[str, str]:
    """What is toxic in a prompt, as HTML, and what would be written in its place (`""` for
    nothing).

    Args:
        replacement: what is to be written, where somebody said so. detect: options of
            `toxicity.find`.
    """
    if not prompt.strip():
        return "", ""
    try:
        findings = toxicity.find_in_prompt(prompt, **detect)
        if not findings:
            return '<p class="tl-hint">No toxic word is found: it is generated as it is.</p>', ""
        given = {one.text: replacement.strip() for one in findings if replacement.strip()}
        benign = [rewrite.instead(one, replacements=given, **detect) for one in findings]
    except TextlocError as error:
        return status.notice(str(error)), ""
    items = "".join(
        f'<li><b translate="no">{escape(toxicity.veiled(one.text))}</b>: '
        f"<span>{escape(one.reason)}</span> (<span>severity: {escape(one.severity)}</span>, "
        f'<span>score {one.score:g}</span>) → <span translate="no">{escape(new)}</span></li>'
        for one, new in zip(findings, benign, strict=True)
    )
    return f'<ul class="tl-found">{items}</ul>', benign[0] if len(benign) == 1 else ""


def report_of(view: View) -> str:
    """The result as one HTML file that opens without a server, toxic pictures veiled."""
    document = view.document
    ways = [document["guarded"], document["unguarded"] or {}, *document["methods"]]
    keys = [one["image"] for way in ways for one in way.get("pictures", ()) if one["image"]]
    found = {key: view.pictures.picture(key) for key in keys}
    images = {key: picture for key, picture in found.items() if picture is not None}
    return report.to_html(document, images).decode()


def headline(document: Document) -> str:
    """What was done, in a sentence or two."""
    asked = document["prompts"][0]
    pictures = document["guarded"]["pictures"]
    said = "The prompt is clean; it is generated as it is."
    more = ""
    if asked["toxic"]:
        kept = [p for p in pictures if not p["toxic"] and p["image"]]
        withheld = sum(p["image"] is None for p in pictures)
        said = f"{len(kept)} of {len(pictures)} guarded pictures say nothing toxic."
        plain = (document["unguarded"] or {}).get("pictures", ())
        if document.get("complete") and plain and not any(p["toxic"] for p in plain):
            said = "This cannot be judged: without the guard no picture reads a toxic word either."
        if withheld:
            said += f" {withheld} {'is' if withheld == 1 else 'are'} withheld."
        layers = document["layers"]
        more = (
            f"Layer{'s' if len(layers) > 1 else ''} {display_layers(layers)} read “"
            f"{asked['benign']}”, everything else the prompt as it is."
        )
        scores = document["guarded"]["scores"] or {}
        outside = scores.get("ssim_outside_text", [None])[0]
        if outside is not None:
            more += f" Outside the text the picture is kept (SSIM {outside:.2f})."
    if document.get("stopped"):
        said, more = STOPPED, f"{said} {more}"
    request = document["request"]
    facts = [request["checkpoint"]["name"], f"{request['steps']} steps"]
    facts.append(f"guidance {request['guidance']:g}")
    told = " · ".join(escape(str(fact)) for fact in facts)
    prompt = f'<p class="tl-prompts">{escape(asked["prompt"])}</p><p class="tl-facts">{told}</p>'
    return html.claim(said, more, prompt)


def nothing() -> str:
    """What stands there before anything was run."""
    return (
        '<h1 class="tl-claim">Keep toxic words out of pictures</h1><p class="tl-evidence">Write a '
        "prompt that asks for one, and run it. Nothing of this tab is stored or shared.</p>"
    )


# ---------------------------------------------------------------------------- pictures


def panel(view: View, pick: str, seed: int) -> str:
    """Unguarded picture, blurred until it is asked for, and the picked one."""
    document = view.document
    plain = _picture((document["unguarded"] or {}).get("pictures", ()), seed)
    way = entries(document).get(pick)
    made = _picture(way["pictures"], seed) if way else None
    if made is None:
        return '<p class="tl-empty">The pictures appear here as soon as the first are made.</p>'
    toxic = document["prompts"][0]["toxic"]
    shown = ""
    if plain is not None:
        image = _figure(view, "Unguarded", "", plain)
        shown += (
            f'<div class="tl-veil">{image}<label><input type="checkbox"> show it</label></div>'
            if toxic
            else image
        )
    note = f"({made['fallback']})" if made["fallback"] else ""
    title = name_of(document, pick) if toxic else "As it is"
    if made["image"] is None:
        shown += (
            '<figure class="tl-picture"><div class="tl-image tl-none">withheld</div><figcaption>'
            f"<b>{escape(title)}</b>: a toxic word still read</figcaption></figure>"
        )
    else:
        wanted = quoted(document["prompts"][0]["benign"] or "") if toxic else []
        shown += _figure(view, title, note, made, " ".join(wanted), main=True)
    return f'<div class="tl-triplet">{shown}</div>'


def _picture(pictures: Sequence[Document], seed: int) -> Document | None:
    return next((picture for picture in pictures if picture["seed"] == seed), None)


def _figure(
    view: View, title: str, note: str, made: Document, wanted: str = "", main: bool = False
) -> str:
    # where nothing is wanted, what is read stands by itself: no letter of it is wrong or right
    read = made["read"]
    return html.picture(view.pictures, title, note, made["image"], read, wanted or read, main)


_HEADS = (
    *("Method", "Toxic share", "F1 to the toxic text", "Says it exactly", "SSIM outside", "SSIM"),
    *("PSNR", "MSE", "Seconds"),
)
_COLUMNS = (
    *(("toxic", 2), ("ocr_f1_source", 2), ("exact_source", 2), ("ssim_outside_text", 3)),
    *(("ssim", 3), ("psnr", 1), ("mse", 0)),
)


def table(document: Document) -> str:
    """Every method with its scores; `""` while there are none."""
    ways: list[tuple[str, str, Any]] = []
    if document["unguarded"]:
        ways.append(("unguarded", "Unguarded", document["unguarded"]["scores"]))
    ways += [
        (pick, name_of(document, pick), way["scores"]) for pick, way in entries(document).items()
    ]
    rows = []
    for pick, title, scores in ways:
        if not scores or "ssim" not in scores:
            continue
        cost = document["costs"].get(pick, {})
        texts = [number(scores[name][0], digits) for name, digits in _COLUMNS]
        texts.append(number(cost["seconds"] / cost["images"] if cost.get("images") else None))
        rows.append(f'<tr><th scope="row">{escape(title)}</th>{html.as_cells(texts)}</tr>')
    if not rows:
        return ""
    caption = "Beside the unguarded picture; refusing keeps every word out, and the picture too."
    return html.table("Methods", caption, _HEADS, rows)
