"""Canonical JSON and the identity of a request."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

from textloc.errors import StoreError


def canonical(value: object) -> str:
    """The one JSON text of `value`: keys sorted, no spaces, text unescaped, floats by `repr`.

    Tuples count as lists. `1` and `1.0` are different values, as they are in JSON.

    Raises:
        StoreError: what JSON cannot hold (NaN, infinities, lone surrogates, keys that are not
            text, other types); the message says where in `value` it is.
    """
    return json.dumps(
        plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def request_id(request: Mapping[str, Any]) -> str:
    """The ID of a request: the first 16 hex characters of the SHA-256 of its canonical JSON."""
    return hashlib.sha256(canonical(request).encode()).hexdigest()[:16]


def plain(value: object, where: str = "value") -> object:
    """A copy of `value` made of dict, list, str, int, float, bool and None only.

    Raises:
        StoreError: as `canonical`.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            _unstorable(where, "holds half a character (a lone surrogate): correct the text")
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            _unstorable(where, f"is {value}, which JSON cannot hold: write null instead")
        return value
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                _unstorable(where, f"has the key {key!r}: keys must be text")
        return {
            str(plain(key, where)): plain(item, f"{where}.{key}") for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    _unstorable(where, f"is of type {type(value).__name__}: convert it to plain Python first")


def _unstorable(where: str, why: str) -> NoReturn:
    raise StoreError(f"Cannot store this result: {where} {why}.")
