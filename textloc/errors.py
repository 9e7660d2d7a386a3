"""Errors a person can act on.

Every message names the cause and the next step. The page and the command line show the message
alone, without a traceback; the command line then exits with status 2.
"""


class TextlocError(Exception):
    """Base of all errors that textloc raises on purpose."""


class PromptError(TextlocError):
    """A prompt or prompt pair that cannot be used (no quoted text, too long, unreadable file)."""


class LayerError(TextlocError):
    """A layer, head or step that the model does not have, or a layer that cannot be patched."""


class CheckpointError(TextlocError):
    """A checkpoint that is unknown, incomplete, gated, unreachable or of an unknown family."""


class AttributionError(TextlocError):
    """A change that cannot be divided among layers: none is there, or no gradient can be taken."""


class NoWayError(AttributionError):
    """A checkpoint, or a pair of its texts, between which no gradients can be taken."""


class OCRError(TextlocError):
    """An OCR engine that is unknown, not installed, or without its weights."""


class StoreError(TextlocError):
    """A stored result that is missing, damaged or badly named."""


class ToxicityError(TextlocError):
    """Text that is toxic and cannot be rewritten or kept out, or a detector that cannot be used."""


class GuardError(TextlocError):
    """A pipeline or call that cannot be guarded; its picture is withheld."""


class TrainingError(TextlocError):
    """A fine-tune that cannot be run: its settings, its data, or what it should go on from."""


class ReproduceError(TextlocError):
    """Something that ships and cannot be made anew: its entry, its record, or a failed command."""


class OutOfMemoryError(TextlocError):
    """The device ran out of memory; the message says which setting to lower."""


class ClusterError(TextlocError):
    """A Ray cluster that cannot be joined, has no room, or loses its workers."""


class SpaceError(TextlocError):
    """A Space that cannot be made or updated: its name, the token, or the Hub."""


class SettingError(TextlocError):
    """An environment variable that says how the page is served and cannot be read."""


class LimitError(TextlocError):
    """More than a page takes of its visitors; the message says which limit."""


class Cancelled(TextlocError):
    """The job was stopped on request; what had been computed is kept by the caller."""
