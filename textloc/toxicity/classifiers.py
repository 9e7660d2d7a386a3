"""Classifiers of whole texts, for what no list holds: each gives how surely a text is toxic.

`alt-profanity-check` ships its weights (a linear model on words, trained on 200,000 texts).
`roberta` is the classifier of the localization paper (`s-nlp/roberta_toxicity_classifier`), and
`detoxify` that of Hanu (2020); their weights are read from the Hub's cache or fetched.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from textloc.errors import ToxicityError

THRESHOLD = 0.5
"""A text of this score or more is taken for toxic."""

ROBERTA = "s-nlp/roberta_toxicity_classifier"


def score(text: str, name: str) -> float:
    """How surely a text is toxic, in [0, 1].

    Raises:
        ToxicityError: the classifier's package or weights are missing.
    """
    return _LOADERS[name]()(text)


@lru_cache(maxsize=1)
def _alt_profanity_check() -> Callable[[str], float]:
    try:
        from profanity_check import predict_prob
    except ImportError as error:
        raise ToxicityError(
            "alt-profanity-check is not installed; run `pip install alt-profanity-check`"
        ) from error
    return lambda text: float(predict_prob([text])[0])


@lru_cache(maxsize=1)
def _roberta() -> Callable[[str], float]:
    from transformers import pipeline

    try:
        classify: Any = pipeline("text-classification", model=ROBERTA, top_k=None)
    except (OSError, ValueError) as error:
        raise ToxicityError(
            f"the weights of {ROBERTA} are not here and cannot be fetched; run "
            f"`hf download {ROBERTA}` where there is a network, or take another detector"
        ) from error
    return lambda text: next(
        float(found["score"]) for found in classify(text)[0] if found["label"] == "toxic"
    )


@lru_cache(maxsize=1)
def _detoxify() -> Callable[[str], float]:
    try:
        from detoxify import Detoxify
    except ImportError as error:
        raise ToxicityError("detoxify is not installed; run `pip install detoxify`") from error
    try:
        model = Detoxify("original")
    except OSError as error:
        raise ToxicityError(
            "the weights of detoxify cannot be fetched; take another detector"
        ) from error
    return lambda text: float(model.predict(text)["toxicity"])


_LOADERS: dict[str, Callable[[], Callable[[str], float]]] = {
    "alt-profanity-check": _alt_profanity_check,
    "roberta": _roberta,
    "detoxify": _detoxify,
}
