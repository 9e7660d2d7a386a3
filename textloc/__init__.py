"""textloc: find, see and use the layers of a text-to-image model that write the words.

Every function takes a known name, a diffusers folder, a Hub name or a loaded diffusers pipeline
where it asks for a model, and gives a `Result`: `.document` (plain data), `.images` (by key),
`.figure()` (Plotly), `.to_pandas()`, `.save()`, `.link`, and a view in notebooks.

    import textloc

    found = textloc.localize("tiny-sdxl", 'a red sign that says "STOP"', "LOVE")
    print(found.document["selected"])

Errors are kinds of `textloc.errors.TextlocError`; their messages say what to do next.
"""

from textloc.api import attribute, compare, edit, finetune, guard, load, localize, models, suppress
from textloc.version import __version__

__all__ = [
    "__version__",
    "attribute",
    "compare",
    "edit",
    "finetune",
    "guard",
    "load",
    "localize",
    "models",
    "suppress",
]
