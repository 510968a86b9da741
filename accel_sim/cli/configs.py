"""`accel-sim configs`."""

from __future__ import annotations

from argparse import Namespace

from accel_sim.cli.output import Output, emit, folder_of


def configs(options: Namespace) -> None:
    """List the shipped configs."""
    from accel_sim.config import load_config, shipped_configs
    from accel_sim.report.documents import configs_document
    from accel_sim.report.plain import dumps
    from accel_sim.report.text import grid

    folder = folder_of(options)
    listed = [(name, path, load_config(path).description) for name, path in shipped_configs().items()]
    document = configs_document(listed)
    rows = [(name, about) for name, _, about in listed]
    files = {"configs.json": lambda: dumps(document).encode("ascii")}
    emit(Output(document, lambda console: console.print(grid(("config", "description"), rows, left=2)), files),
         options, folder)
