"""`accel-sim validate`."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import Any

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

    if options.scalesim:
        scalesim(options)
        return
    if options.config is None:
        raise UsageError("validate needs a CONFIG, or --scalesim")
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


def scalesim(options: Namespace) -> None:
    """Cycles of systolic arrays beside the closed formulas and SCALE-Sim's. A difference ends with exit code 1."""
    from accel_sim.report.documents import scalesim_document
    from accel_sim.report.plain import dumps
    from accel_sim.report.validate_text import show_scalesim
    from accel_sim.validation_scalesim import scalesim_table

    if options.rtl or options.faults is not None:
        raise UsageError("--scalesim compares cycles alone: it goes without --rtl and --faults")
    folder = folder_of(options)
    tell = (lambda what: print(f"{what} …", file=sys.stderr)) if sys.stderr.isatty() else None
    rows = scalesim_table(**_products(options), progress=tell)
    document = scalesim_document(rows)
    files = {"scalesim.json": lambda: dumps(document).encode("ascii")}
    emit(Output(document, lambda console: show_scalesim(console, document), files), options, folder)
    if not document["agree"]:
        raise SystemExit(1)


def _products(options: Namespace) -> dict[str, Any]:
    """What to compare: the products, array and dataflow of a config, or the table's own."""
    if options.config is None:
        if options.changes:
            raise UsageError("--set changes a config: name one")
        return {}
    from accel_sim.config import ConfigError
    from accel_sim.workloads import load_workload

    config = config_of(options)
    a: Any = config.architecture
    if a.kind != "gemm":
        raise ConfigError.at(config, "architecture.kind", f"SCALE-Sim has no {a.kind} machine; allowed: gemm")
    w = load_workload(config)
    shapes = [(w.n_queries, w.n_keys, w.head_dim)]
    if not w.plain:
        shapes.append((w.n_queries, w.head_dim, w.n_keys))
    return {"shapes": shapes, "arrays": [(a.rows, a.cols)], "dataflows": [a.dataflow]}
