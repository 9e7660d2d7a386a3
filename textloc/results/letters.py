"""What was read, letter by letter beside the wanted word."""

from difflib import SequenceMatcher


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
