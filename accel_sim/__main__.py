"""`python -m accel_sim`: the commands."""

from __future__ import annotations

import sys

from accel_sim.cli import main

if __name__ == "__main__":
    sys.exit(main())
