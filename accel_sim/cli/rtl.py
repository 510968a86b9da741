"""`accel-sim rtl`."""

from __future__ import annotations

import sys
import tempfile
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from accel_sim.cli.errors import UsageError
from accel_sim.cli.inputs import config_of
from accel_sim.cli.output import Output, emit, folder_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from accel_sim.machines.lanes import LanesMachine
    from accel_sim.rtl.synth import Synthesis


def rtl(options: Namespace) -> None:
    """Write the SystemVerilog of a design, and synthesise it if there is a cell library."""
    from accel_sim.machines.lanes import LanesMachine
    from accel_sim.report.plain import dumps
    from accel_sim.report.rtl_document import rtl_document
    from accel_sim.report.rtl_text import show_rtl
    from accel_sim.rtl.limits import check_expressible

    config = config_of(options)
    folder = folder_of(options)
    check_expressible(config)
    machine = LanesMachine(config)
    sources = _sources(machine)
    synthesis, without = _synthesis(machine, options.synth)
    document = rtl_document(machine, list(sources), synthesis, without)
    files: dict[str, Callable[[], bytes]] = {name: _contents(data) for name, data in sources.items()}
    files["rtl.json"] = lambda: dumps(document).encode("ascii")
    emit(Output(document, lambda console: show_rtl(console, document), files), options, folder)


def _sources(machine: LanesMachine) -> dict[str, bytes]:
    """Every file of the design."""
    from accel_sim.rtl.generate import write_design

    with tempfile.TemporaryDirectory(prefix="accel-sim-rtl-") as name:
        return {path.name: path.read_bytes() for path in write_design(machine, Path(name))}


def _contents(data: bytes) -> Callable[[], bytes]:
    return lambda: data


def _synthesis(machine: LanesMachine, libraries: list[str]) -> tuple[Synthesis | None, Synthesis | None]:
    """The design in the cells of a library, and the same without its check unit; None where there is nothing to do."""
    from accel_sim.rtl.liberty import LibertyError, read_library
    from accel_sim.rtl.synth import synthesise_design, unprotected
    from accel_sim.rtl.verilate import ToolMissing

    if not libraries:
        return None, None
    try:
        library = read_library([Path(name) for name in libraries])
        _say("synthesising the design")
        synthesis = synthesise_design(machine, library)
        if machine.check is None:
            return synthesis, None
        _say(f"took {synthesis.seconds:.0f} s; once more without the check unit")
        return synthesis, synthesise_design(unprotected(machine), library)
    except (LibertyError, ToolMissing) as error:
        raise UsageError(str(error)) from error


def _say(what: str) -> None:
    """What a person is waiting for."""
    if sys.stderr.isatty():
        print(f"accel-sim: {what} …", file=sys.stderr, flush=True)
