"""The version of textloc."""

__version__ = "0.1.0"
