"""`accel-sim inject`."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from accel_sim.cli.errors import UsageError
from accel_sim.cli.inputs import config_of
from accel_sim.cli.output import Output, emit, folder_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from accel_sim.analysis.explain import Explanation


def inject(options: Namespace) -> None:
    """Strike one bit and explain what came of it."""
    if options.list:
        list_registers(options)
        return
    missing = [f"--{name}" for name in ("register", "bit", "cycle") if getattr(options, name) is None]
    if missing:
        raise UsageError(f"inject needs {', '.join(missing)} (--list shows the registers)")
    from accel_sim.api import inject as run
    from accel_sim.config import ConfigError
    from accel_sim.report.documents import inject_document
    from accel_sim.report.inject_text import show_inject
    from accel_sim.report.plain import dumps

    config = config_of(options)
    folder = folder_of(options)
    try:
        story = run(
            config, register=options.register, index=options.index, bit=options.bit, cycle=options.cycle,
            kind=options.kind, bits=options.bits, duration=options.duration, layer=options.layer, head=options.head,
        )
    except ConfigError:
        raise
    except ValueError as error:
        raise UsageError(str(error)) from error
    document = inject_document(config, story)
    files: dict[str, Callable[[], bytes]] = {"inject.json": lambda: dumps(document).encode("ascii")}
    if story.rows:
        files["attention-row.png"] = lambda: _attention_row(story)
    emit(Output(document, lambda console: show_inject(console, document, story.register), files), options, folder)


def list_registers(options: Namespace) -> None:
    """Every register array of the config's machine, and its memories."""
    from accel_sim.kinds import make_machine, memories_of
    from accel_sim.report.documents import registers_document
    from accel_sim.report.inject_text import show_registers
    from accel_sim.report.plain import dumps
    from accel_sim.workloads import load_workload

    config = config_of(options)
    folder = folder_of(options)
    machine, workload = make_machine(config), load_workload(config)
    memories = memories_of(machine, machine.timing(workload.n_queries, workload.n_keys))
    document = registers_document(config, [*machine.inventory, *memories])
    files = {"registers.json": lambda: dumps(document).encode("ascii")}
    emit(Output(document, lambda console: show_registers(console, document), files), options, folder)


def _attention_row(story: Explanation) -> bytes:
    from accel_sim.report.figures import attention_row

    row = story.rows[0]
    fault = story.fault
    return attention_row(
        row.keys.tolist(), row.golden_weights, row.faulty_keys.tolist(), row.faulty_weights,
        f"Query {row.query}: {fault.kind} of bit {fault.bit} of {fault.register}, {story.outcome.replace('_', ' ')}",
    )
