"""Letters as HTML: what was read, with the letters that differ from the wanted word marked."""

from difflib import SequenceMatcher
from html import escape


def marked(read: str, wanted: str) -> str:
    """`read` as HTML, one element a letter.

    Letters that are not the wanted ones are in `<mark>`, wanted letters that are missing are dotted
    gaps; upper and lower case count as the same. A sentence for screen readers comes first.
    """
    parts = [f'<span class="tl-sr">{escape(spoken(read, wanted))}</span>']
    parts += (_letter(kind, letter) for kind, letter in differences(read, wanted))
    return f'<span class="tl-letters">{"".join(parts)}</span>'


def differences(read: str, wanted: str) -> list[tuple[str, str]]:
    """(kind, letter) in reading order: `same`, `other` (read, not wanted), `missing` (wanted).

    Texts of one length are compared place by place, others by their longest common parts.
    """
    if len(read) == len(wanted):
        same = (a.casefold() == b.casefold() for a, b in zip(read, wanted, strict=True))
        return [("same" if hit else "other", a) for hit, a in zip(same, read, strict=True)]
    folded = [letter.casefold() for letter in read], [letter.casefold() for letter in wanted]
    matcher = SequenceMatcher(None, *folded, autojunk=False)
    found: list[tuple[str, str]] = []
    for kind, start, stop, first, last in matcher.get_opcodes():
        if kind == "equal":
            found += (("same", letter) for letter in read[start:stop])
            continue
        found += (("other", letter) for letter in read[start:stop])
        found += (("missing", letter) for letter in wanted[first + (stop - start) : last])
    return found


def spoken(read: str, wanted: str) -> str:
    """The same for a screen reader: `LOVE, as wanted`."""
    if not read.strip():
        return f"nothing was read; wanted was {wanted}"
    if read.casefold() == wanted.casefold():
        return f"{read}, as wanted"
    return f"{read}; wanted was {wanted}"


def _letter(kind: str, letter: str) -> str:
    shown = "·" if kind == "missing" else ("␣" if letter.isspace() else escape(letter))
    tag = "mark" if kind == "other" else "span"
    return f'<{tag} class="tl-{kind}" aria-hidden="true">{shown}</{tag}>'
