"""Where the files that travel with textloc are, and where results go."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parent

INSTALLED = not (_CHECKOUT / "assets" / "checkpoints").is_dir()
"""Whether textloc runs from an installed package and not from a checkout."""

ROOT = _PACKAGE / "_shipped" if INSTALLED else _CHECKOUT
"""What holds `assets/` and `cached_results/`: the checkout, or a folder of the package."""

ASSETS = ROOT / "assets"
CHECKPOINTS = ASSETS / "checkpoints"
FONTS = ASSETS / "fonts"
LORAS = ASSETS / "loras"
SUPPRESSED = ASSETS / "suppressed"
WORDS = ASSETS / "words"
SHIPPED_RESULTS = ROOT / "cached_results"


def own_results() -> Path:
    """Where results go unless one says otherwise: `cached_results/` of the checkout, or the user's
    data folder where textloc is installed."""
    if not INSTALLED:
        return SHIPPED_RESULTS
    from platformdirs import user_data_path

    return user_data_path("textloc", appauthor=False) / "results"


def own_mirrors() -> Path:
    """Where results that lie elsewhere are kept beside: a folder of the user's data folder."""
    from platformdirs import user_data_path

    return user_data_path("textloc", appauthor=False) / "mirrors"


def own_cache() -> Path:
    """Where what can be made again is kept unless one says otherwise: the user's cache folder."""
    from platformdirs import user_cache_path

    return user_cache_path("textloc", appauthor=False)
