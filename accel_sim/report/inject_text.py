"""`accel-sim inject` for people: one fault as a story, from strike to alarm."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from accel_sim.faults.outcome import OUTCOMES
from accel_sim.report.run_text import line, show_title
from accel_sim.report.text import Line, count, facts, grid, heading, labelled, number, percent, print_grid

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from accel_sim.machines.inventory import Register
    from accel_sim.machines.memories import Memory

MOST_KEYS = 8
"""Keys that the attention table lists."""

VERDICTS = {
    "detected": "the output is wrong, and the alarm was raised",
    "silent": "the output is wrong, and nothing noticed",
    "false_alarm": "the output is right, bit for bit, and the alarm was raised all the same",
    "masked": "the output is right, bit for bit, and no alarm was raised",
}
assert set(VERDICTS) == set(OUTCOMES)

DECODER = {
    "nothing wrong": "nothing in it was wrong",
    "corrected": "corrected on the way out",
    "detected": "wrong bits were seen, and flowed on",
    "passed on": "wrong bits were delivered, and not seen",
}

COLOURS = {"detected": "green", "silent": "bold red", "false_alarm": "yellow", "masked": "dim"}


def show_inject(console: Console, document: Mapping[str, Any], register: Register | Memory) -> None:
    """Print the document of an injection."""
    show_title(console, document)
    console.print(labelled(_story(document)))
    console.print()
    console.print(heading("Value", _format_note(document)))
    console.print(_patterns(document, register))
    for row in document["attention"][:1]:
        console.print()
        console.print(heading(f"Attention of query {row['query']}", _attention_note(document, row)))
        print_grid(console, grid(("key", "before", "after", "change"), _attention(row)))
    if document["comparison"] is not None:
        console.print()
        console.print(heading("Check unit"))
        console.print(facts(_check(document)))
    console.print()
    console.print(_outcome(document["outcome"]))
    if document["outcome"]["rows"]:
        console.print(facts(_severity(document["outcome"])))


def show_registers(console: Console, document: Mapping[str, Any]) -> None:
    """Print the register arrays and memories that can be struck."""
    show_title(console, document)
    rows = [
        (r["name"], r["component"], r["format"], "×".join(map(str, r["shape"])) or "1", str(r["width_bits"]),
         count(r["bits"]), r["about"])
        for r in document["registers"]
    ]
    table = grid(("register", "component", "format", "shape", "bits each", "bits", "holds"), rows, left=3)
    table.columns[-1].justify, table.columns[-1].no_wrap = "left", False
    console.print(table)


def element(fault: Mapping[str, Any]) -> str:
    """o[0, 2], or phase."""
    index = ", ".join(map(str, fault["index"]))
    return f"{fault['register']}[{index}]" if index else str(fault["register"])


def _story(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    fault, where, when, reach = (document[name] for name in ("fault", "where", "when", "reach"))
    yield "fault", f"{_kind(fault)} of {element(fault)} at cycle {count(fault['cycle'])}, in layer {fault['layer']} " \
                   f"head {fault['head']}"
    word = document["word"]
    if word is None:
        yield "where", f"{where['about']} ({where['role']} register of component {where['component']}, " \
                       f"{where['stored_format']}, {where['width_bits']} bit{'s' if where['width_bits'] > 1 else ''})"
    else:
        yield "where", f"{where['about']} (word of component {where['component']}: " \
                       f"{_several(word['elements'], where['stored_format'] + ' element')}" \
                       f"{', ' + _several(word['check_bits'], 'check bit') if word['check_bits'] else ''})"
    product = document["config"]["values"]["workload"]["kind"] == "gemm"
    yield "held", _held(where, ("row", "column", "k") if product else ("query", "key", "dim"))
    if word is not None:
        yield "read", _read(word)
    yield "when", f"{when['phase']}; cycle {count(fault['cycle'])} of {count(when['run_cycles'])}" + (
        f", while the pipeline was held by the memory (machine cycle {count(when['machine_cycle'])})"
        if when["stalled"] else "")
    if product:
        yield "reached", _several(len(reach["rows"]), "output row") + _rows(reach["rows"], ("row", "rows"))
        return
    yield "reached", (f"{_several(reach['scores'], 'score')}, {_several(reach['weights'], 'attention weight')}, "
                      f"{_several(len(reach['rows']), 'output row')}" + _rows(reach["rows"], ("query", "queries")))


def _read(word: Mapping[str, Any]) -> str:
    if word["read_cycle"] is None:
        told = "not before it is written again"
    else:
        told = f"in cycle {count(word['read_cycle'])}: {DECODER[word['decoder']]}"
    if word["alarm_cycle"] is not None:
        told += f"; the memory alarm can be read in cycle {count(word['alarm_cycle'])}"
    return f"{told} (memory.ecc: {word['protection']})"


def _kind(fault: Mapping[str, Any]) -> str:
    kind, bit = fault["kind"], fault["bit"]
    if kind == "burst":
        return f"burst over bits {bit} to {bit + fault['bits'] - 1}"
    if kind == "flip":
        return f"flip of bit {bit}"
    return f"bit {bit} stuck at {kind[-1]} for {_several(fault['duration_cycles'], 'cycle')},"


def _held(where: Mapping[str, Any], called: tuple[str, str, str]) -> str:
    if where["holds"] is None:
        return "nothing that is still needed: it is written again before anything reads it"
    names = zip(called, ("query", "key", "dim"), strict=True)
    place = [f"{shown} {where[name]}" for shown, name in names if where[name] is not None]
    return ", ".join(place) or "a value of the whole run"


def _several(n: int, what: str) -> str:
    return f"{count(n)} {what}{'' if n == 1 else 's'}"


def _rows(rows: Iterable[int], called: tuple[str, str]) -> str:
    listed = list(rows)
    if not listed:
        return ""
    shown = ", ".join(map(str, listed[:8])) + (", …" if len(listed) > 8 else "")
    return f" ({called[len(listed) > 1]} {shown})"


# -- the value ------------------------------------------------------------------------------------------------


def _format_note(document: Mapping[str, Any]) -> str:
    where = document["where"]
    if where["format"] == where["stored_format"]:
        return ""
    return f"struck as {where['stored_format']}, computed in {where['format']}"


def _patterns(document: Mapping[str, Any], register: Register | Memory) -> Text:
    """Before and after, as number and as bits, with marks under the struck ones; of a memory's word, the element that
    was struck."""
    from rich.text import Text

    value, fault, word = document["value"], document["fault"], document["word"]
    width_bits = register.stored.width_bits
    bit = fault["bit"] if word is None else fault["bit"] % width_bits
    if word is not None and fault["bit"] >= word["data_bits"]:
        return Text(f"check bit {fault['bit'] - word['data_bits']} of the word, not its data", style="dim")
    if value["before_bits"] is None and value["before"] != value["before"]:
        return Text("the logic read nothing wrong: the bit is in a protection's own storage, or was put right",
                    style="dim")
    numbers = [f"{_exact(value[name])}" for name in ("before", "after")]
    width = max(map(len, numbers))
    text = Text()
    for name, shown in zip(("before", "after"), numbers, strict=True):
        text.append(f"{name:<8}", style="cyan")
        text.append(f"{shown:>{width}}")
        bits = value[f"{name}_bits"]
        if bits is not None:
            text.append(f"   {_spaced(int(bits, 16), register)}   ")
            text.append(bits, style="dim")
        text.append("\n")
    if value["before_bits"] is not None:
        struck = range(bit, bit + fault["bits"])
        marks = "".join("^" if i in struck else " " for i in range(width_bits - 1, -1, -1))
        text.append(" " * (8 + width + 3) + _cut(marks, register).rstrip(), style="bold red")
        text.append(f"  {_field(register, bit)}", style="dim")
    else:
        text.append(f"bit {bit} of the stored {register.stored.name}: {_field(register, bit)}",
                    style="dim")
    return text


def _exact(value: float) -> str:
    """A register value: an integer as it is, a float with nine digits."""
    if value == value and abs(value) < 2**53 and value == int(value):
        return str(int(value)) if value or str(value)[0] != "-" else "-0"
    return f"{value:.9g}"


def _spaced(bits: int, register: Register | Memory) -> str:
    return _cut(f"{bits:0{register.stored.width_bits}b}", register)


def _cut(digits: str, register: Register | Memory) -> str:
    """Sign, exponent and fraction set apart; counters in fours."""
    stored = register.stored
    if stored.kind == "uint":
        first = len(digits) % 4
        parts = [digits[:first]] if first else []
        return " ".join([*parts, *(digits[i:i + 4] for i in range(first, len(digits), 4))])
    return f"{digits[0]} {digits[1:1 + stored.exponent_bits]} {digits[1 + stored.exponent_bits:]}"


def _field(register: Register | Memory, bit: int) -> str:
    stored = register.stored
    if stored.kind == "uint":
        return f"bit {bit}, worth {1 << bit}"
    if bit < stored.mantissa_bits:
        return f"fraction bit {bit}"
    return "sign" if bit == stored.width_bits - 1 else f"exponent bit {bit - stored.mantissa_bits}"


# -- what came of it ------------------------------------------------------------------------------------------


def _attention_note(document: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    more = len(document["attention"]) - 1
    listed = min(MOST_KEYS, len(set(map(int, row["keys"])) | set(map(int, row["after_keys"]))))
    note = f"share of each key in the output; the {listed} keys that matter most"
    return note + (f"; {more} more quer{'y' if more == 1 else 'ies'} in --json" if more > 0 else "")


def _attention(row: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    before, after = _shares(row["keys"], row["before"]), _shares(row["after_keys"], row["after"])
    keys = sorted({*before, *after}, key=lambda key: (-_weight(before.get(key, 0.0), after.get(key, 0.0)), key))
    for key in sorted(keys[:MOST_KEYS]):
        old, new = before.get(key), after.get(key)
        change = "=" if old == new else f"{number(100 * ((new or 0.0) - (old or 0.0)))} pp"
        yield str(key), percent(old), percent(new), change


def _weight(old: float, new: float) -> float:
    """How much a key matters: its change first, then its share."""
    change = abs(new - old)
    return (change if change == change else float("inf")) + 1e-3 * old


def _shares(keys: Iterable[int], weights: Iterable[float]) -> dict[int, float]:
    """Share of each key; one that came twice has the sum."""
    total: dict[int, float] = {}
    for key, weight in zip(keys, weights, strict=False):
        total[int(key)] = total.get(int(key), 0.0) + float(weight)
    return total


def _check(document: Mapping[str, Any]) -> Iterator[Line]:
    comparison, alarm = document["comparison"], document["alarm"]
    if comparison["residual"] is None:
        yield line("comparison.residual", "–", "the run ended before any comparison", "")
    else:
        clean = f"fault-free {number(comparison['clean_residual'])}"
        yield line("comparison.residual", number(comparison["residual"]), clean)
        times = number(abs(comparison["residual"]) / comparison["limit"]) if comparison["limit"] else ""
        yield line("comparison.limit", number(comparison["limit"]), times and f"the residual is {times} × this")
    if alarm["cycle"] is None:
        yield line("alarm.cycle", "none", "", "")
    else:
        yield line("alarm.cycle", count(alarm["cycle"]),
                   f"the first cycle in which it can be read; raised by the {alarm['by']}", "")
        yield line("alarm.latency_cycles", count(alarm["latency_cycles"]), "from the strike to the alarm")


def _outcome(outcome: Mapping[str, Any]) -> Text:
    from rich.text import Text

    text = Text(outcome["class"].replace("_", " ").upper(), style=COLOURS[outcome["class"]])
    text.append(f"  {VERDICTS[outcome['class']]}", style="not bold")
    if outcome["hang"]:
        text.append("; the machine did not finish and was stopped")
    return text


def _severity(outcome: Mapping[str, Any]) -> Iterator[Line]:
    yield line("outcome.rel_l2", percent(outcome["rel_l2"]) if outcome["rel_l2"] != float("inf") else "∞",
               "‖O' − O‖₂ / ‖O‖₂", "")
    yield line("outcome.max_abs", number(outcome["max_abs"]), f"{count(outcome['max_ulp'])} representable values")
    if outcome["nonfinite"]:
        yield line("outcome.nonfinite", count(outcome["nonfinite"]), "that became NaN or infinite")
