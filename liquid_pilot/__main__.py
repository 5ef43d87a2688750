"""`python -m liquid_pilot` is `liquid-pilot`."""

from __future__ import annotations

import sys

from liquid_pilot.cli import main

if __name__ == "__main__":
    sys.exit(main())
