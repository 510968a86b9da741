"""`accel-sim validate`."""

from __future__ import annotations

import sys
from argparse import Namespace

from accel_sim.cli.errors import UsageError
from accel_sim.cli.inputs import config_of
from accel_sim.cli.output import Output, emit, folder_of


def validate(options: Namespace) -> None:
    """Compare the engines of a config with each other and with its RTL. A difference ends with exit code 1."""
    from accel_sim.report.documents import validation_document
    from accel_sim.report.plain import dumps
    from accel_sim.report.validate_text import show_validation
    from accel_sim.rtl.verilate import ToolMissing
    from accel_sim.validation import validate as compare

    if options.faults is not None and options.faults < 0:
        raise UsageError(f"--faults {options.faults}: must be 0 or more")
    config = config_of(options)
    folder = folder_of(options)
    tell = (lambda what: print(f"{what} …", file=sys.stderr)) if sys.stderr.isatty() else None
    asked = {} if options.faults is None else {"faults": options.faults}
    try:
        found = compare(config, rtl=options.rtl, progress=tell, **asked)
    except ToolMissing as missing:
        raise UsageError(f"--rtl: {missing}") from None
    document = validation_document(found)
    files = {"validate.json": lambda: dumps(document).encode("ascii")}
    emit(Output(document, lambda console: show_validation(console, document), files), options, folder)
    if not found.agree:
        raise SystemExit(1)
