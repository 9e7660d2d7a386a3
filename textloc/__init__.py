"""textloc: find, see and use the layers of a text-to-image model that write the words."""

__version__ = "0.1.0"
