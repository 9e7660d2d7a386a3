"""`python -m textloc`."""

import sys

from textloc.cli import main

sys.exit(main())
