"""Whether a result can be judged at all: are the pictures that all is measured by readable?"""

from collections.abc import Mapping
from typing import Any

Document = Mapping[str, Any]

LEAST, LEAST_OF_MANY, MANY = 0.7, 0.5, 4
"""OCR F1 (character multisets) to its own words, from which a picture counts as readable: of
unrelated words of four letters it is about 0.3, with one letter of four wrong 0.75. The mean of
four pictures or more may be lower: there one letter in two has to be right."""

APART = 0.25
"""By how much a picture has to read its own words better than the other prompt's."""


def doubt(document: Document) -> str | None:
    """Why a localization cannot be judged, as a sentence; None where it can.

    The effect of a layer lies between what the untouched source picture reads and what the picture
    with all layers patched reads. Where these do not read their own words, it has no meaning.
    """
    references, pairs = document["references"], document["request"]["pairs"]
    for name, other in (("source", "target"), ("target", "source")):
        entry = references.get(name)
        if entry is None or _readable(entry, name, other):
            continue
        reads = entry["read"]
        if len(reads) == 1:
            read, wanted = reads[0]["text"] or "nothing", pairs[reads[0]["pair"]][f"{name}_text"]
            return (
                f"This cannot be judged: in the {name} picture OCR reads {read!r} where {wanted!r} "
                "was asked for."
            )
        return (
            f"This cannot be judged: OCR hardly reads the {name} pictures' own words (F1 "
            f"{entry['scores'][f'ocr_f1_{name}']:.2f})."
        )
    return None


def _readable(entry: Document, own: str, other: str) -> bool:
    """Whether the pictures of a reference read their own words, and rather than the other's."""
    scores = entry["scores"]
    if scores[f"exact_{own}"] >= 0.5:
        return True
    least = LEAST_OF_MANY if len(entry["read"]) >= MANY else LEAST
    f1 = scores[f"ocr_f1_{own}"]
    return bool(f1 >= least and f1 - scores[f"ocr_f1_{other}"] >= APART)
