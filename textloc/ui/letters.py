"""Letters as HTML: what was read, with the letters that differ from the wanted word marked."""

from html import escape

from textloc.results.letters import differences as differences
from textloc.results.letters import spoken as spoken


def marked(read: str, wanted: str) -> str:
    """`read` as HTML, one element a letter.

    Letters that are not the wanted ones are in `<mark>`, wanted letters that are missing are dotted
    gaps; upper and lower case count as the same. A sentence for screen readers comes first.
    """
    parts = [f'<span class="tl-sr">{escape(spoken(read, wanted))}</span>']
    parts += (_letter(kind, letter) for kind, letter in differences(read, wanted))
    return f'<span class="tl-letters">{"".join(parts)}</span>'


def _letter(kind: str, letter: str) -> str:
    shown = "·" if kind == "missing" else ("␣" if letter.isspace() else escape(letter))
    tag = "mark" if kind == "other" else "span"
    return f'<{tag} class="tl-{kind}" aria-hidden="true">{shown}</{tag}>'
