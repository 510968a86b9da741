"""`accel-sim schema`."""

from __future__ import annotations

import sys
from argparse import Namespace

from accel_sim.cli.output import folder_of


def schema(options: Namespace) -> None:
    """Print the JSON schema of the configs: a JSON document either way."""
    from accel_sim.config import schema as make
    from accel_sim.report.plain import dumps

    folder = folder_of(options)
    text = dumps(make())
    if folder is not None:
        folder.write("accel-sim.schema.json", text.encode("ascii"))
    sys.stdout.write(text)
