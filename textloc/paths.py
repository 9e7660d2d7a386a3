"""Where the files that travel with textloc are."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The checkout: the folder that holds `app.py`, `assets/` and `cached_results/`."""

ASSETS = ROOT / "assets"
CHECKPOINTS = ASSETS / "checkpoints"
FONTS = ASSETS / "fonts"
LORAS = ASSETS / "loras"
WORDS = ASSETS / "words"
