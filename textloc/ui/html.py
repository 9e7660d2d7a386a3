"""Pieces of HTML that the tabs share; what comes from outside is escaped."""

from collections.abc import Iterable, Sequence
from html import escape

from textloc.results import facts
from textloc.results.inlined import PANEL, STRIP, Pictures
from textloc.ui.letters import marked
from textloc.ui.stored import Document


def sentence(text: str) -> str:
    """A text, escaped, with a capital at its beginning, but for a name there: of a file, of a
    checkpoint."""
    first = text.partition(" ")[0].rstrip(",:;")
    return escape(text[:1].upper() + text[1:] if first.isalpha() else text)


def claim(text: str, evidence: str, asked: str) -> str:
    """The headline, the sentence below it, and `asked` (HTML)."""
    below = f'<p class="tl-evidence">{escape(evidence)}</p>' if evidence else ""
    return f'<h1 class="tl-claim">{escape(text)}</h1>{below}{asked}'


def nothing(what_next: str, claim: str = "No result is stored here yet.") -> str:
    """What stands in place of a headline where there is no result to show."""
    return (
        f'<div class="tl-nothing"><h1 class="tl-claim">{escape(claim)}</h1>'
        f'<p class="tl-evidence">{escape(what_next)}</p></div>'
    )


def asked(document: Document, *more: str) -> str:
    """The prompts and the facts of a run, with `more` facts after the number of steps."""
    request = document["request"]
    first, *others = request["pairs"]
    rest = f" and {len(others)} more pair{'s' if len(others) > 1 else ''}" if others else ""
    told = facts.asked(document, *more)
    return (
        f'<p class="tl-prompts"><span>{escape(first["source"])}</span>'
        f'<span class="tl-arrow" aria-label="becomes">→</span>'
        f"<span>{escape(first['target'])}</span>{escape(rest)}</p>"
        f'<p class="tl-facts">{" · ".join(map(escape, told))}</p>'
    )


def picture(
    pictures: Pictures,
    title: str,
    note: str,
    key: str | None,
    read: str,
    wanted: str,
    main: bool = False,
    side: int = PANEL,
) -> str:
    """A picture of the result with what was read in it.

    title, note: bold and plain words below it. key: None for one that is not made. wanted: the
    word that `read` is compared with. main: whether it is the one to look at. side: pixels at most.
    """
    address = pictures.address(key, side) if key else None
    heading = f"<b>{escape(title)}</b>" + (f" {escape(note)}" if note else "")
    if address is None:
        return (
            f'<figure class="tl-picture"><div class="tl-image tl-none">not made</div>'
            f"<figcaption>{heading}</figcaption></figure>"
        )
    alternative = f"{title}{' ' + note if note else ''}: the picture reads {read or 'nothing'}"
    kind = "tl-image tl-pixels" if address[1] else "tl-image"
    return (
        f'<figure class="tl-picture{" tl-main" if main else ""}">'
        f'<img class="{kind}" src="{address[0]}" alt="{escape(alternative)}">'
        f"<figcaption>{heading}"
        f'<span class="tl-read"><span class="tl-label">OCR reads</span> {marked(read, wanted)}'
        f"</span></figcaption></figure>"
    )


def thumb(
    pictures: Pictures, pick: str, key: str, label: str, short: str, chosen: bool
) -> str | None:
    """A small picture that picks; None where there is no such picture."""
    address = pictures.address(key, STRIP)
    if address is None:
        return None
    pixels = ' class="tl-pixels"' if address[1] else ""
    label = label if short in label else f"{short}: {label}"  # what is seen is part of the name
    return (
        f'<button type="button" class="tl-thumb{" tl-chosen" if chosen else ""}"'
        f' data-pick="{escape(pick)}" tabindex="-1"'
        f' aria-label="{escape(label)}" title="{escape(label)}">'
        f'<img src="{address[0]}" alt=""{pixels}><span>{escape(short)}</span></button>'
    )


def toolbar(thumbs: Iterable[str | None], label: str, of: str = "") -> str:
    """Small pictures in a row; the keyboard moves among them. of: what says which they are."""
    shown = "".join(filter(None, thumbs))
    if not shown:
        return ""
    of = f' data-of="{escape(of)}"' if of else ""
    return f'<div class="tl-strip" role="toolbar" aria-label="{escape(label)}"{of}>{shown}</div>'


def scores(title: str, facts: Iterable[tuple[str, str]]) -> str:
    """Terms with their values (HTML)."""
    rows = "".join(f"<div><dt>{term}</dt><dd>{text}</dd></div>" for term, text in facts)
    return f'<div class="tl-scores"><h2 class="tl-sr">{escape(title)}</h2><dl>{rows}</dl></div>'


def table(label: str, caption: str, heads: Sequence[str], rows: Iterable[str]) -> str:
    """A table that scrolls sideways; `rows` are HTML."""
    columns = "".join(f'<th scope="col">{head}</th>' for head in heads)
    return (
        f'<div class="tl-scroll" tabindex="0" role="region" aria-label="{label}">'
        f'<table class="tl-table"><caption><span>{caption}</span></caption>'
        f"<thead><tr>{columns}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def as_cells(texts: Iterable[str]) -> str:
    """Table cells; `texts` are HTML."""
    return "".join(f"<td>{text}</td>" for text in texts)


def number(value: float | None, digits: int = 2) -> str:
    """A number, or a dash for none."""
    return "–" if value is None else f"{value:z.{digits}f}"
