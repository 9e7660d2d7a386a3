"""Denoisers at full size, without memory, each built once for the tests that only look at it."""

from functools import cache

from textloc.checkpoints.families import full_size

built = cache(full_size.build)
