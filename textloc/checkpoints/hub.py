"""What the Hub's client raises where the network fails.

huggingface_hub speaks HTTP by httpx or, as 2.4 does, by httpx2; the errors of one are not the
other's.
"""

from __future__ import annotations

import importlib


def http_errors() -> tuple[type[Exception], ...]:
    """The base of all errors of the HTTP library that the installed client uses, and OSError."""
    from huggingface_hub.errors import HfHubHTTPError

    found = [cls for cls in HfHubHTTPError.__mro__ if cls.__name__ == "HTTPError"]
    return (OSError, *found)


def failures() -> tuple[type[Exception], ...]:
    """The same, and ValueError, which names that cannot be raise."""
    return (*http_errors(), ValueError)


def unreachable() -> tuple[type[Exception], ...]:
    """Those that say that no answer came."""
    libraries = {cls.__module__.partition(".")[0] for cls in http_errors()} - {"builtins"}
    found = [importlib.import_module(name).TransportError for name in libraries]
    return (ConnectionError, *found)
