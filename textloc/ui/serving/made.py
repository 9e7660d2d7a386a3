"""Pictures that were made and told of but are not stored, or not yet: the newest are kept."""

import threading
from collections import OrderedDict

from PIL import Image

from textloc.pictures import png

MOST = 256 * 2**20
"""Bytes that are kept."""

_kept: OrderedDict[tuple[str, str], bytes] = OrderedDict()
_keeping = threading.Lock()


def keep(result_id: str, key: str, picture: Image.Image) -> None:
    """Keep a picture of a result under its key."""
    with _keeping:
        if (result_id, key) in _kept:
            _kept.move_to_end((result_id, key))
            return
    file = png(picture)
    with _keeping:
        _kept[result_id, key] = file
        while sum(map(len, _kept.values())) > MOST:
            _kept.popitem(last=False)


def find(result_id: str, key: str) -> bytes | None:
    """A kept picture as PNG, or None."""
    with _keeping:
        return _kept.get((result_id, key))
