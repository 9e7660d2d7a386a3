"""Values as they arrive from outside: any JSON, until it is checked here."""

import base64
import binascii
import io
import re
from pathlib import Path
from typing import Any

from gradio.utils import get_upload_folder, is_in_or_equal
from PIL import Image

from textloc.checkpoints.known import KNOWN
from textloc.errors import CheckpointError, PromptError
from textloc.pictures import read_picture
from textloc.ui import models
from textloc.ui.fields import check_model, check_number_of_seeds

MOST_LETTERS = 4000
"""Characters of a text."""
MOST_TEXTS = 1000
"""Texts of a list."""
LARGEST_FILE = 64 * 2**20
"""Bytes of a picture's file."""
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)


def text(value: Any, name: str) -> str:
    """A text; None is an empty one."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise PromptError(f"the {name} is a text, not {_kind(value)}")
    if len(value) > MOST_LETTERS:
        raise PromptError(f"the {name} has {len(value)} characters; give at most {MOST_LETTERS}")
    return value


def texts(value: Any, name: str) -> list[str]:
    """Several texts; None is none."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise PromptError(f"the {name} are a list of texts, not {_kind(value)}")
    if len(value) > MOST_TEXTS:
        raise PromptError(f"{len(value)} {name} are too many; give at most {MOST_TEXTS}")
    return [text(one, f"entry {place + 1} of the {name}") for place, one in enumerate(value)]


def number(value: Any, name: str) -> float | None:
    """A number, or None."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PromptError(f"the {name} is a number, not {_kind(value)}")
    if not abs(value) < 1e9:
        raise PromptError(f"the {name} is out of range; give a number such as 5")
    return float(value)


def flag(value: Any, name: str, usual: bool) -> bool:
    """True or false; None is `usual`."""
    if value is None:
        return usual
    if not isinstance(value, bool):
        raise PromptError(f"{name} is true or false, not {_kind(value)}")
    return value


def one_of(value: Any, name: str, known: tuple[str, ...], usual: str) -> str:
    """One of some words; None and the empty text are `usual`."""
    given = text(value, name) or usual
    if given not in known:
        raise PromptError(f"there is no {name} {given[:40]!r}; there are {', '.join(known)}")
    return given


def some_of(value: Any, name: str, known: tuple[str, ...]) -> list[str]:
    """Some of some words, each once."""
    return list(dict.fromkeys(one_of(one, name, known, "") for one in texts(value, f"{name}s")))


def seeds(value: Any) -> str:
    """Seeds, as the field of a form has them: `0,1`."""
    if value is None:
        return "0"
    if not isinstance(value, list):
        raise PromptError(f"the seeds are a list of whole numbers, not {_kind(value)}")
    check_number_of_seeds(len(value))
    for one in value:
        if isinstance(one, bool) or not isinstance(one, int):
            raise PromptError(f"a seed is a whole number such as 0, not {_kind(one)}")
        if not 0 <= one < 2**63:
            raise PromptError("seeds are 0 or greater, and less than 2 to the power of 63")
    return ",".join(map(str, value))


def model(value: Any) -> str:
    """A known name or a Hub name, on a public page one that it offers. A folder of this server is
    none: who asks is not who serves."""
    name = text(value, "model").strip()
    known = [entry.name for entry in KNOWN]
    hub = _HUB_NAME.fullmatch(name) is not None
    if not models.any_other() or name in known or (hub and not Path(name).exists()):
        return check_model(name)
    said = f"there is no checkpoint {name[:80]!r}" if name else "no model is chosen"
    raise CheckpointError(
        f"{said}: give one of {', '.join(known)}, or a Hub name such as owner/model"
    )


def picture(value: Any) -> Image.Image | None:
    """An uploaded picture or a `data:` address, in RGB; None where there is none.

    Raises:
        PromptError: neither, or it cannot be read.
    """
    if value is None or value == "":
        return None
    if isinstance(value, str) and value.startswith("data:"):
        return _of_address(value)
    if (file := _uploaded(value)) is not None:
        if file.stat().st_size > LARGEST_FILE:
            raise PromptError("the picture's file is larger than 64 MiB; make it smaller first")
        return read_picture(file, "the picture")
    raise PromptError(
        "the picture is an uploaded file, such as handle_file('sign.png') of gradio_client, or a "
        "data: address"
    )


def _uploaded(value: Any) -> Path | None:
    """The file that Gradio has received for a value; None where it is none."""
    path = value.get("path") if isinstance(value, dict) else None
    try:
        if isinstance(path, str) and path and is_in_or_equal(path, get_upload_folder()):
            return Path(path) if Path(path).is_file() else None
    except (OSError, ValueError):  # no name that a file can have
        pass
    return None


def _of_address(value: str) -> Image.Image:
    head, _, body = value.partition(",")
    if len(body) > LARGEST_FILE * 4 // 3:
        raise PromptError("the picture's file is larger than 64 MiB; make it smaller first")
    try:
        if not head.endswith(";base64"):
            raise ValueError(head)
        data = base64.b64decode(body, validate=True)
    except (ValueError, binascii.Error) as error:
        raise PromptError("the data: address of the picture is not in base64") from error
    return read_picture(io.BytesIO(data), "the picture")


def _kind(value: Any) -> str:
    """What JSON calls a value."""
    names = {bool: "true or false", str: "a text", list: "a list", dict: "an object"}
    if value is None:
        return "nothing"
    return names.get(type(value), "a number")
