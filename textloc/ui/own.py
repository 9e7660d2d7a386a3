"""Whose result is it? Who made one here may delete it, as long as nobody else asked for the same.

A run that stores a new result gives its browser a receipt; the server remembers its hash, in
memory alone. Whoever asks for the same result afterwards has it too: then nobody may delete it.
What ships, what the command line made and what was made before the last start has no receipt.
"""

import hashlib
import hmac
import secrets
import threading

_RECEIPTS: dict[str, bytes] = {}
_CHANGING = threading.Lock()


def claim(result_id: str) -> str:
    """The receipt of a result that was just made."""
    receipt = secrets.token_urlsafe(24)
    with _CHANGING:
        _RECEIPTS[result_id] = _hash(receipt)
    return receipt


def share(result_id: str) -> None:
    """Somebody else asked for it as well."""
    with _CHANGING:
        _RECEIPTS.pop(result_id, None)


def take(result_id: str, receipt: str) -> bool:
    """Whether the receipt is that of the result; it is good for one time."""
    with _CHANGING:
        known = _RECEIPTS.get(result_id)
        good = known is not None and hmac.compare_digest(known, _hash(receipt))
        if good:
            del _RECEIPTS[result_id]
    return good


def _hash(receipt: str) -> bytes:
    return hashlib.sha256(receipt.encode("utf-8", "replace")).digest()
