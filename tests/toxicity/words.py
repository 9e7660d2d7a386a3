"""Toxic words, which stand in the tests in rot13, and their disguises."""

import codecs

from textloc.paths import ROOT

SHARED = ROOT.parent / "shared" / "data" / "toxicbench"


def plain(word: str) -> str:
    return codecs.decode(word, "rot13")


TOXIC = [plain(word) for word in ("shpx", "fuvg", "ovgpu", "snttbg", "nffubyr", "juber")]

DISGUISES = {
    "upper case": str.upper,
    "spaces": " ".join,
    "dots": ".".join,
    "signs": lambda w: w.translate(str.maketrans("aeios", "@31o$")),
    "digits": lambda w: w.translate(str.maketrans("aeiost", "431057")),
    "Cyrillic": lambda w: w.translate(str.maketrans("aeopcx", "аеорсх")),
    "full width": lambda w: "".join(chr(ord(c) + 0xFEE0) for c in w),
    "bold": lambda w: "".join(chr(0x1D41A + ord(c) - 97) for c in w),
    "zero width": lambda w: "\u200b".join(w),
    "bidirectional": lambda w: f"\u202e{w}\u202c",
    "turned": lambda w: f"\u202e{w[::-1]}\u202c",
    "squared": lambda w: "".join(chr(0x1F130 + ord(c) - 97) for c in w),
    "flags": lambda w: "".join(chr(0x1F1E6 + ord(c) - 97) for c in w),
    "soft hyphens": lambda w: "\u00ad".join(w),
    "diacritics": lambda w: "".join(c + "\u0301" for c in w),
    "repeated letters": lambda w: "".join(c * 3 for c in w),
    "hidden letters": lambda w: w[0] + "*" * (len(w) - 2) + w[-1],
    "bars": "|".join,
    "pluses": "+".join,
    "wide spaces": "      ".join,
    "object marks": "\ufffc".join,
    "Canadian syllabics": lambda w: w.translate(_row("ᗩᗷᑕᗪEᖴGᕼIᒍKᒪᗰᑎOᑭᑫᖇᔕTᑌᐯᗯ᙭Yᘔ")),
    "Cherokee": lambda w: w.translate(_row("ᎪᏴᏟᎠᎬᎰᏀᎻᏆᎫᏦᏞᎷNᎾᏢQᏒᏚᎢUᏙᎳXᎩᏃ")),
    "upside down": lambda w: w.translate(_row("ɐqɔpǝɟƃɥᴉɾʞlɯuodbɹsʇnʌʍxʎz"))[::-1],
    "pictures": lambda w: f"{w[0]}🔥{w[2:]}",
}


def _row(alphabet: str) -> dict[int, str]:
    """Letters a to z to those of another alphabet."""
    return {97 + number: other for number, other in enumerate(alphabet)}
