"""What every number in the output means, and in which unit it is.

One table for everything: the keys of the --json documents, the lines of the printed tables (which take their label
and unit from here) and docs/output-columns.md, which `python -m accel_sim.report.definitions` prints.

A key is a path through a document: `*` stands for any name (of a component, a tensor …), `[]` for the items of a
list, and a final `**` for everything below.
"""

from __future__ import annotations

from typing import NamedTuple


class Definition(NamedTuple):
    """One number (or text) of the output. `label` is what the printed tables call it."""

    key: str
    label: str
    unit: str
    about: str


class Section(NamedTuple):
    """Definitions that belong together. `documents` names the commands whose documents have them."""

    title: str
    documents: tuple[str, ...]
    about: str
    definitions: tuple[Definition, ...]


D = Definition

SECTIONS: tuple[Section, ...] = (
    Section("Every document", ("run", "inject", "campaign", "validate", "rtl", "configs"), "", (
        D("command", "command", "", "the command that made the document"),
        D("version", "accel-sim", "", "version of accel-sim"),
    )),
    Section("Config", ("run", "inject", "campaign", "validate", "rtl"), "", (
        D("config.name", "config", "", "`name` of the config"),
        D("config.description", "description", "", "`description` of the config"),
        D("config.hash", "hash", "", "SHA-256 of everything in the config that changes results, tensor files included"),
        D("config.values.**", "values", "", "the config with every default spelled out; see the config reference"),
    )),
    Section("Size of the design", ("run", "rtl"), "", (
        D("design.size", "size", "", "the datapath's size, in words"),
        D("design.lanes", "lanes", "lanes", "lanes machine: queries processed side by side, P"),
        D("design.head_dim", "head dim", "", "elements of a query, key or value, d; K of a plain product"),
        D("design.registers_bits", "flip-flops", "bits", "flip-flop bits of the whole machine, check unit included"),
    )),
    Section("Design", ("run",), "The machine and its check unit, as the config states them.", (
        D("design.kind", "machine", "", "kind of machine"),
        D("design.clock_mhz", "clock", "MHz", "clock frequency"),
        D("design.dot", "dot product", "", "lanes machine: how q·k adds up"),
        D("design.rows", "rows", "", "gemm machine: rows of the array, R"),
        D("design.cols", "columns", "", "gemm machine: columns of the array for data, C"),
        D("design.dataflow", "dataflow", "", "gemm machine: os, ws or is"),
        D("design.vector_lanes", "vector lanes", "lanes", "gemm machine: queries that the vector unit works on side by side"),
        D("design.tile_cycles", "key tile", "cycles", "fused machine: cycles of a key tile, checksum columns included"),
        D("design.checksum_columns", "checksum columns", "", "columns that carry checksums of operands: of PEs (gemm), or of the "
          "stream (fused)"),
        D("design.checksum_rows", "checksum rows", "", "gemm machine, os: rows of PEs that carry checksums"),
        D("design.checksum_elements", "checksum elements", "", "gemm machine, ws and is: elements streamed behind the operand "
          "that moves right, for the sums of columns"),
        D("design.fused_columns", "fused columns", "", "gemm machine: columns that the fused check adds to V"),
        *(D(f"design.{kind}", kind, "", "what that unit protects, in words")
          for kind in ("parity", "secded", "dmr", "tmr")),
        D("design.exp", "exponential", "", "kind of exponential unit"),
        D("design.divide", "division", "", "kind of division unit"),
        D("design.subnormals", "subnormals", "", "whether subnormal numbers are kept or flushed to zero"),
        D("design.formats.*", "formats", "", "number format of each role of values"),
        D("design.stored_formats.*", "stored as", "", "format of the registers of each role, where it is not the arithmetic's "
          "(`faults.register_format`)"),
        D("design.check_unit_bits", "of the check units", "bits", "flip-flop bits of the check units"),
        D("design.units[].**", "check unit", "", "the check units with every key of theirs but the threshold, as the config "
          "reference defines them; none for an unprotected design"),
    )),
    Section("Workload", ("run",), "", (
        D("workload.name", "workload", "", "name of the workload"),
        D("workload.kind", "kind", "", "captured, gaussian, outliers, file or gemm (plain products M × K by K × N)"),
        D("workload.heads", "heads", "heads", "attention heads (or plain products) that are run; all have one shape"),
        D("workload.queries", "queries", "", "queries of a head, Nq; rows M of a plain product"),
        D("workload.keys", "keys", "", "keys of a head, N; columns N of a plain product"),
        D("workload.head_dim", "head dim", "", "elements of a query, key or value, d; K of a plain product"),
        D("workload.mask", "mask", "", "which keys a query may attend to"),
        D("workload.scores", "scores", "", "unmasked (query, key) pairs of a head"),
        D("workload.macs", "multiply-accumulates", "", "multiply-accumulates of QKᵀ and PV over the unmasked pairs of a "
          "head: 2 · scores · d; of a plain product: M · N · K"),
        D("workload.facts.**", "about", "", "where the tensors come from, in words"),
    )),
    Section("Time", ("run",), "Of one head. Heads of one shape take the same time: one is simulated and multiplied.", (
        D("time.total_cycles", "total", "cycles", "from the first request to memory until the last byte of O is in "
          "memory: machine + drain"),
        D("time.total_us", "total", "µs", "total_cycles at the design's clock"),
        D("time.machine_cycles", "machine", "cycles", "until the machine has delivered its last row and, with a checker, "
          "judged it, busy or held: formula + stalls"),
        D("time.formula_cycles", "closed formula", "cycles", "the machine's cycles on a memory that never makes it wait, by the "
          "closed formula of its kind"),
        D("time.formula", "closed formula", "", "that formula"),
        D("time.useful", "utilisation", "", "the formula of utilisation"),
        D("time.stall_cycles", "stalls", "cycles", "cycles in which the whole machine was held"),
        D("time.stalls.*", "stalls, by cause", "cycles", "held for a block of queries (q_load), a tile of keys and values "
          "(kv_load), a free output bank (o_store); when queries and output bank are both missing: q_load"),
        D("time.drain_cycles", "drain", "cycles", "from the machine's end until the last byte of O is in memory"),
        D("time.utilisation", "utilisation", "", "useful multiply-accumulates over those that the machine had time for "
          "in machine_cycles (lanes: Nq · N / (P · machine_cycles)); masked pairs count as useful, work done again does not"),
        D("time.macs_per_cycle", "throughput", "MAC/cycle", "workload.macs over total_cycles"),
        D("time.all_heads.heads", "heads", "heads", "heads that the numbers below are for"),
        D("time.all_heads.total_cycles", "all heads", "cycles", "total_cycles times heads: an upper bound for a controller "
          "that prefetches across heads"),
        D("time.all_heads.total_us", "all heads", "µs", "the same in time"),
        D("time.all_heads.note", "all heads", "", "which heads were simulated, and how often each counts"),
    )),
    Section("Memory", ("run",), "Of one head.", (
        D("memory.bytes_moved.*", "moved off chip", "bytes", "over the off-chip channel, in whole bursts: q, k and v are "
          "read, o is written"),
        D("memory.total_bytes", "moved off chip", "bytes", "all tensors together"),
        D("memory.payload_bytes", "payload", "bytes", "the elements themselves, without the rest of their bursts"),
        D("memory.bandwidth_utilisation", "channel busy", "", "share of total_cycles in which the off-chip channel was "
          "transferring; null if its bandwidth is unlimited"),
        D("memory.sram_peak_bytes.*", "SRAM peak", "bytes", "most bytes of SRAM taken at any time, by tensor and for all"),
    )),
    Section("Accuracy", ("run",), "Distance of the output from softmax(QKᵀ/√d)V (of a plain product: from A·B) in float64, "
            "on the same operands (already rounded to the operand format) under the same mask: the error of the machine's "
            "arithmetic.", (
        D("accuracy.max_abs_error", "largest error", "output units", "largest |O − R| over all heads; Infinity where the "
          "output is not finite"),
        D("accuracy.rel_l2_error", "relative error", "", "‖O − R‖₂ / ‖R‖₂ of the worst head"),
    )),
    Section("Check units", ("run",), "Of the fault-free run, one entry for each unit; none for an unprotected design.", (
        D("check_units[].unit", "check unit", "", "kind of the check unit"),
        D("check_units[].threshold_kind", "threshold", "", "absolute, relative, calibrated, bound or statistical"),
        D("check_units[].threshold", "threshold", "output units", "value of the threshold register; for kind relative, a fraction "
          "of the larger of |predicted| and |actual|, or of the magnitude that a unit on the output buffer gives"),
        D("check_units[].scan_threshold", "scan threshold", "output units", "the same for comparisons inside a block, on undivided "
          "sums; null where there are none"),
        D("check_units[].small_threshold", "small limit", "output units", "kind statistical: a comparison over it deviates; null "
          "for other kinds, also below"),
        D("check_units[].frequent", "frequent", "", "kind statistical: so many deviations of one head raise the alarm"),
        D("check_units[].threshold_origin", "threshold", "", "how the threshold came about, in words"),
        D("check_units[].small_origin", "small limit", "", "how the small limit came about, in words"),
        D("check_units[].largest_clean_residual", "calibration residual", "output units", "largest |residual| of the calibration "
          "set (kinds calibrated and statistical)"),
        D("check_units[].calibration_heads", "calibration heads", "heads", "fault-free heads that the threshold was set on"),
        D("check_units[].residual", "largest residual", "output units", "largest |predicted − actual| of the fault-free run, over "
          "all heads and comparisons; of a unit on the output buffer, largest |residual|"),
        D("check_units[].limit", "limit there", "output units", "what that comparison allows"),
        D("check_units[].margin", "margin", "", "smallest limit / |residual| of all comparisons: how far a clean run is from a "
          "false alarm; Infinity if every residual is 0"),
        D("check_units[].comparisons", "comparisons", "", "comparisons of one head"),
        D("check_units[].clean_alarms", "alarms", "heads", "heads of this fault-free run that raised an alarm"),
        D("check_units[].unseen_heads", "unseen heads", "heads", "fault-free heads, outside the calibration set, on which the "
          "false-alarm rate was measured"),
        D("check_units[].unseen_alarms", "of them with an alarm", "heads", "those of them that raised an alarm"),
        D("check_units[].false_alarm_rate.estimate", "clean false alarms", "", "unseen_alarms / unseen_heads"),
        D("check_units[].false_alarm_rate.low", "low", "", "lower end of its 95 % Jeffreys interval"),
        D("check_units[].false_alarm_rate.high", "high", "", "upper end"),
        D("check_units[].alarm_delay_cycles", "alarm delay", "cycles", "from the last row of a unit of work standing in the output "
          "register (of a unit on the output buffer: in the register it is read back to) until its alarm can be read, without "
          "stalls"),
        D("check_units[].longest_wait_cycles", "longest wait", "cycles", "longest time between two cycles in which an alarm "
          "can be read first, or from the start of the head to the first; a fault that comes too late for one comparison waits "
          "for the next"),
    )),
    Section("Recovery", ("run",), "The cost of one alarm when the unit of work that raised it runs again; null without a "
            "checker or without recovery.", (
        D("recovery.unit", "runs again", "", "what runs again: the head or the query block"),
        D("recovery.mean_cycles", "extra time", "cycles", "extra total cycles of an alarm, averaged over the units of a head"),
        D("recovery.worst_cycles", "at worst", "cycles", "the largest of them"),
        D("recovery.correction_cycles", "until corrected", "cycles", "at worst, from the alarm until the corrected outputs "
          "are in memory"),
        D("recovery.mean_bytes", "extra traffic", "bytes", "extra bytes over the off-chip channel, averaged likewise"),
        D("recovery.energy_pj.value", "extra energy", "pJ", "energy of one more run of the unit, with that traffic and "
          "leakage over the extra time"),
        D("recovery.energy_pj.low", "low", "pJ", "lower end of its range"),
        D("recovery.energy_pj.high", "high", "pJ", "upper end"),
        D("recovery.note", "how", "", "how these numbers were made"),
    )),
    Section("Area", ("run",), "From a technology table: cells before placement, without wires and clock tree. Every entry "
            "of the table has a range; low and high are reached if all of them err the same way.", (
        D("area.technology", "technology", "", "name of the technology table"),
        D("area.total_um2.value", "area", "µm²", "machine and SRAM"),
        D("area.total_um2.low", "low", "µm²", "lower end of its range"),
        D("area.total_um2.high", "high", "µm²", "upper end"),
        D("area.by_component_um2.*.value", "area", "µm²", "by component"),
        D("area.by_component_um2.*.low", "low", "µm²", "lower end of its range"),
        D("area.by_component_um2.*.high", "high", "µm²", "upper end"),
        D("area.by_category_um2.*.value", "area", "µm²", "by category: operators, registers, sram"),
        D("area.by_category_um2.*.low", "low", "µm²", "lower end of its range"),
        D("area.by_category_um2.*.high", "high", "µm²", "upper end"),
        D("area.overhead.*.value", "area overhead", "", "check unit over everything else in the scope: the core alone "
          "(datapath), with_sram; null for an unprotected design"),
        D("area.overhead.*.low", "low", "", "lower end of its 95 % interval, over samples of the technology table that "
          "both sides of the ratio share"),
        D("area.overhead.*.high", "high", "", "upper end"),
    )),
    Section("Energy", ("run",), "Of one fault-free head, memory and leakage included, from the same table.", (
        D("energy.technology", "technology", "", "name of the technology table"),
        D("energy.total_pj.value", "energy", "pJ", "one head"),
        D("energy.total_pj.low", "low", "pJ", "lower end of its range"),
        D("energy.total_pj.high", "high", "pJ", "upper end"),
        D("energy.all_heads_pj", "all heads", "pJ", "energy of all heads of the workload: of those that find their "
          "group's keys and values in SRAM, without loading them"),
        D("energy.power_mw.value", "mean power", "mW", "energy of one head over its total time"),
        D("energy.power_mw.low", "low", "mW", "lower end of its range"),
        D("energy.power_mw.high", "high", "mW", "upper end"),
        D("energy.by_component_pj.*.value", "energy", "pJ", "by component; leakage is part of each"),
        D("energy.by_component_pj.*.low", "low", "pJ", "lower end of its range"),
        D("energy.by_component_pj.*.high", "high", "pJ", "upper end"),
        D("energy.by_category_pj.*.value", "energy", "pJ", "by category: operators, registers, sram, off_chip, leakage"),
        D("energy.by_category_pj.*.low", "low", "pJ", "lower end of its range"),
        D("energy.by_category_pj.*.high", "high", "pJ", "upper end"),
        D("energy.overhead.*.value", "energy overhead", "", "check unit over everything else in the scope: the core "
          "alone, with_sram, or the system with off-chip memory; null for an unprotected design"),
        D("energy.overhead.*.low", "low", "", "lower end of its 95 % interval, as for area"),
        D("energy.overhead.*.high", "high", "", "upper end"),
    )),
    Section("Published", ("run",), "For context only, and only for the shipped configs that stand for the paper's "
            "accelerator; null otherwise. Its technology, sizes and formats are not known here.", (
        D("published.source", "source", "", "where the numbers are from"),
        D("published.area_overhead", "published area overhead", "", "as the abstract states it"),
        D("published.energy_overhead_below", "published energy overhead", "", "the bound that the abstract states"),
    )),
    Section("Heads", ("run",), "One item for each head of the workload.", (
        D("heads[].layer", "layer", "", "layer of the head"),
        D("heads[].head", "head", "", "its number in the layer"),
        D("heads[].max_abs_error", "largest error", "output units", "largest |O − R| of the head"),
        D("heads[].rel_l2_error", "relative error", "", "‖O − R‖₂ / ‖R‖₂ of the head"),
        D("heads[].residual", "residual", "output units", "signed residual of the telling comparison: the first over its "
          "limit, else the one with the largest |residual|; null for an unprotected design"),
        D("heads[].limit", "limit", "output units", "what that comparison allows"),
        D("heads[].predicted", "predicted", "output units", "sum of the outputs as that comparison predicts it"),
        D("heads[].actual", "actual", "output units", "sum of the outputs as delivered"),
        D("heads[].alarm_cycle", "alarm", "cycles", "first cycle in which the (false) alarm can be read, or null"),
    )),
    Section("Fault", ("inject",), "", (
        D("fault.register", "register", "", "register array or memory, by hardware name"),
        D("fault.index[]", "index", "", "element of the array; empty for a single register; bank, row and word of a memory"),
        D("fault.bit", "bit", "", "stored bit, 0 is least significant; a memory's check bits follow its data"),
        D("fault.kind", "kind", "", "flip, burst, stuck0 or stuck1"),
        D("fault.bits", "bits", "bits", "adjacent bits that a burst inverts; 1 for other kinds"),
        D("fault.duration_cycles", "duration", "cycles", "cycles for which a stuck bit is held; 1 for other kinds"),
        D("fault.cycle", "cycle", "cycles", "clock cycle at whose start it acts, from the head's start"),
        D("fault.layer", "layer", "", "layer of the head that is struck"),
        D("fault.head", "head", "", "its number in the layer"),
    )),
    Section("Where and when", ("inject",), "", (
        D("where.component", "component", "", "component that the register belongs to"),
        D("where.role", "role", "", "what such registers hold"),
        D("where.about", "register", "", "what this register is for"),
        D("where.shape[]", "shape", "", "shape of the array"),
        D("where.width_bits", "width", "bits", "stored bits of an element; of a memory, of a word with its check bits"),
        D("where.format", "format", "", "format of the arithmetic that writes it"),
        D("where.stored_format", "stored as", "", "format whose bits can be struck"),
        D("where.holds", "holds", "", "what the schedule says it held; null if it was dead: nothing reads it before it "
          "is written again"),
        D("where.query", "query", "", "query (row of a plain product) that this value belongs to, or null"),
        D("where.key", "key", "", "key (column of a plain product) that it belongs to, or null"),
        D("where.dim", "dim", "", "dimension (k of a plain product) that it belongs to, or null"),
        D("when.phase", "phase", "", "what the machine was doing"),
        D("when.stalled", "held", "", "the pipeline was being held: the flip waited in its register"),
        D("when.machine_cycle", "machine cycle", "cycles", "the same moment without stalls"),
        D("when.run_cycles", "run", "cycles", "length of the fault-free run"),
    )),
    Section("Word", ("inject",), "For a fault in SRAM; `word` is null otherwise.", (
        D("word.protection", "protection", "", "none, parity or secded: `memory.ecc`"),
        D("word.elements", "elements", "", "elements of a word"),
        D("word.data_bits", "data", "bits", "data bits of a word; check bits have the numbers from here on"),
        D("word.check_bits", "check bits", "bits", "its check bits"),
        D("word.read_cycle", "read", "cycles", "clock cycle in which it was read next (the length of the run if it left with "
          "the outputs at its end); null if it was written again first"),
        D("word.decoder", "decoder", "", "what that read made of it: not read, nothing wrong, corrected, detected (the data "
          "flowed on as it was) or passed on (wrong bits, not noticed)"),
        D("word.alarm_cycle", "memory alarm", "cycles", "first cycle in which the memory alarm can be read, or null"),
    )),
    Section("Value", ("inject",), "Of a memory's word: the element that the bit belongs to; NaN for a check bit.", (
        D("value.before", "before", "", "value in the register before the fault"),
        D("value.after", "after", "", "value after it"),
        D("value.before_bits", "before", "", "stored pattern before, in hexadecimal; null if the stored format is not "
          "the arithmetic's"),
        D("value.after_bits", "after", "", "stored pattern after"),
    )),
    Section("Reach", ("inject",), "What differs, in any bit, from the fault-free run.", (
        D("reach.scores", "scores", "", "(query, key) scores that differ"),
        D("reach.weights", "weights", "", "(query, key) attention weights that differ"),
        D("reach.rows[]", "output rows", "", "queries whose output row differs"),
        D("attention[].query", "query", "", "a query whose attention changed most (at most three)"),
        D("attention[].keys[]", "key", "", "keys in the order in which the query met them, before"),
        D("attention[].before[]", "before", "", "share of each of these keys in the output"),
        D("attention[].after_keys[]", "key", "", "the same for the faulty run"),
        D("attention[].after[]", "after", "", "share of each of these keys"),
    )),
    Section("Comparison", ("inject",), "The telling comparison of the faulty run: the first over its limit, else the one with the "
            "largest |residual|. `comparison` is null for an unprotected design, and so is `alarm` unless a word with check "
            "bits was struck.", (
        D("comparison.residual", "residual", "output units", "predicted − actual"),
        D("comparison.limit", "limit", "output units", "what the comparison allows"),
        D("comparison.predicted", "predicted", "output units", "sum of the outputs as the check unit predicts it"),
        D("comparison.actual", "actual", "output units", "sum of the outputs as delivered"),
        D("comparison.clean_residual", "fault-free residual", "output units", "residual of the telling comparison without the "
          "fault"),
        D("alarm.by", "alarm by", "", "whose alarm can be read first: checker, memory or none"),
        D("alarm.cycle", "alarm", "cycles", "first cycle in which it can be read; null for no alarm"),
        D("alarm.latency_cycles", "latency", "cycles", "alarm.cycle − fault.cycle; null for no alarm"),
    )),
    Section("Outcome", ("inject",), "", (
        D("outcome.class", "outcome", "", "detected, silent, false_alarm or masked"),
        D("outcome.rel_l2", "relative change", "", "‖O' − O‖₂ / ‖O‖₂ over the head; Infinity if an element became "
          "non-finite"),
        D("outcome.max_abs", "largest change", "output units", "largest |O' − O|; Infinity likewise"),
        D("outcome.max_ulp", "largest change", "ULP", "the same in values of the output format"),
        D("outcome.nonfinite", "non-finite", "elements", "elements that became NaN or infinite"),
        D("outcome.rows", "output rows", "rows", "output rows that differ in any bit"),
        D("outcome.cycles", "run", "cycles", "length of the faulty run"),
        D("outcome.hang", "hang", "", "the machine did not finish in time and was stopped"),
    )),
    Section("Registers", ("inject",), "With `--list`: every register array that can be struck, then every memory.", (
        D("registers[].name", "register", "", "register array or memory, by hardware name"),
        D("registers[].shape[]", "shape", "", "its shape; empty for a single register"),
        D("registers[].width_bits", "bits each", "bits", "stored bits of an element, or of a word with its check bits"),
        D("registers[].bits", "bits", "bits", "stored bits of the whole array"),
        D("registers[].format", "format", "", "format whose bits can be struck"),
        D("registers[].role", "role", "", "what it holds"),
        D("registers[].component", "component", "", "component that it belongs to"),
        D("registers[].about", "holds", "", "what it is for"),
    )),
    Section("Campaign", ("campaign",), "", (
        D("campaign.path", "records", "", "directory of the records"),
        D("campaign.faults", "faults", "faults", "faults that were injected and are counted here"),
        D("campaign.computed", "computed", "faults", "those of them that this call injected; the rest was there already"),
        D("campaign.seconds", "took", "s", "wall-clock time of this call"),
        D("campaign.seed", "seed", "", "seed; fault i depends on (seed, i) only"),
        D("campaign.engine", "engine", "", "engine that injected; all give the same records"),
        D("campaign.sampling.**", "sampling", "", "how the faults were drawn"),
        D("campaign.universe", "universe", "bit·cycles", "points that faults are drawn from: every stored bit in every cycle, "
          "of every head"),
        D("campaign.complete", "complete", "", "false if a stopping rule was asked for and never met"),
        D("campaign.stopped.reason", "stopped", "", "width, above or not above: the condition that was met; `stopped` is "
          "null if no rule stopped the campaign"),
        D("campaign.stopped.estimate", "rate there", "", "the rate when it stopped"),
        D("campaign.stopped.low", "low", "", "lower end of its anytime-valid 95 % interval"),
        D("campaign.stopped.high", "high", "", "upper end"),
    )),
    Section("Rates", ("campaign",), "Under `rates` for all faults, under `components.*.rates` for one component. The rates: "
            "`detected`, `silent`, `false_alarm` and `masked` of all faults; `coverage`, the detected of the faults that made "
            "the output wrong, and `silent_share`, the others; `precision`, the alarms whose output is wrong; `hang`, the "
            "machine did not finish.", (
        D("rates.*.estimate", "rate", "", "weighted share; NaN if nothing was tried"),
        D("rates.*.low", "low", "", "lower end of its 95 % interval"),
        D("rates.*.high", "high", "", "upper end"),
        D("rates.*.hits", "hits", "faults", "faults that count"),
        D("rates.*.among", "among", "faults", "faults among which they count"),
        D("rates.*.method", "method", "", "how the interval was made"),
        D("rates.*.about", "about", "", "what is counted among what"),
        D("components.*.faults", "faults", "faults", "faults that struck the component"),
        D("components.*.exposure", "exposure", "", "its share of the universe: stored bits × cycles"),
        D("components.*.rates.*.estimate", "rate", "", "as above, of the faults in this component"),
        D("components.*.rates.*.low", "low", "", "lower end of its 95 % interval"),
        D("components.*.rates.*.high", "high", "", "upper end"),
        D("components.*.rates.*.hits", "hits", "faults", "faults that count"),
        D("components.*.rates.*.among", "among", "faults", "faults among which they count"),
        D("components.*.rates.*.method", "method", "", "how the interval was made"),
        D("components.*.rates.*.about", "about", "", "what is counted among what"),
    )),
    Section("Detection latency", ("campaign",), "Alarm cycle − fault cycle of the detected faults.", (
        D("latency_cycles.p50", "median", "cycles", "half of the detected faults raise the alarm within so many cycles; null "
          "if none was detected"),
        D("latency_cycles.p90", "90th percentile", "cycles", "nine in ten do"),
        D("latency_cycles.p99", "99th percentile", "cycles", "99 in a hundred do"),
        *(definition for p in ("p50", "p90", "p99") for definition in (
            D(f"latency_cycles.{p}_low", f"{p} low", "cycles", "lower end of its 95 % interval, from the order of the "
              "detected faults alone; null with oversampled strata"),
            D(f"latency_cycles.{p}_high", f"{p} high", "cycles", "upper end"))),
        D("latency_bins[].first_cycles", "from", "cycles", "least latency of the bin"),
        D("latency_bins[].last_cycles", "to", "cycles", "largest latency of the bin"),
        D("latency_bins[].share", "share", "", "weighted share of the detected faults"),
        D("latency_bins[].faults", "faults", "faults", "detected faults"),
    )),
    Section("Validation", ("validate",), "Comparisons are bit for bit; see docs/validation.md.", (
        D("agree", "agree", "", "true if no comparison found a difference (the command then ends with exit code 0, else 1)"),
        D("checks[].what", "what", "", "what was held against something else"),
        D("checks[].beside", "beside", "", "against what"),
        D("checks[].compared", "compared", "", "how many were compared, in `unit`"),
        D("checks[].unit", "unit", "", "runs, values, register bits or faults"),
        D("checks[].mismatches", "differ", "", "how many of them differ (of register bits: 1 if any does)"),
        D("checks[].first", "first difference", "", "the first difference in words, null if there is none"),
        D("distance.max_abs_error", "largest error", "output units", "largest |O − R| of the first head, R being "
          "softmax(QKᵀ/√d)V (of a plain product: A·B) in float64 on the same operands; Infinity where the output is not finite"),
        D("distance.rel_l2_error", "relative error", "", "‖O − R‖₂ / ‖R‖₂"),
    )),
    Section("SCALE-Sim", ("validate",), "With `--scalesim`: M × K by K × N on an array of R × C.", (
        D("products[].m", "M", "", "rows of A"),
        D("products[].n", "N", "", "columns of B"),
        D("products[].k", "K", "", "columns of A, rows of B"),
        D("products[].rows", "R", "", "rows of the array"),
        D("products[].cols", "C", "", "columns of the array"),
        D("products[].flow", "flow", "", "dataflow: os, ws or is"),
        D("products[].measured", "measured", "cycles", "cycles of the product on the engine's clock, or by the place and time "
          "of its last multiplication"),
        D("products[].measured_by", "by", "", "`engine` or `schedule`"),
        D("products[].formula", "formula", "cycles", "the closed formula of the dataflow"),
        D("products[].scale_sim", "SCALE-Sim", "cycles", "the total that SCALE-Sim prints: the index of the last cycle, one "
          "less than their number"),
        D("products[].recorded", "as it printed", "cycles", "what scalesim 3.0.0 printed when it was run on that product, "
          "null where it was not"),
    )),
    Section("Generated design", ("rtl",), "", (
        D("design.top", "top module", "", "name of the top module"),
        D("design.registers", "register arrays", "", "register arrays of the inventory"),
        D("design.registers_bits_by_component.*", "flip-flops", "bits", "flip-flop bits by component"),
        D("files[]", "files", "", "names of the files that --out writes: sources in reading order, their list, a README"),
    )),
    Section("Synthesis", ("rtl",), "With `--synth`, null otherwise. Cells for least area without a clock to meet: no "
            "placement, no wires, no clock tree, no SRAM. The hierarchy is kept. See docs/synthesis.md.", (
        D("synthesis.tool", "tool", "", "Yosys and its version"),
        D("synthesis.seconds", "took", "s", "wall-clock time of all syntheses"),
        D("synthesis.unique_modules", "modules", "", "modules synthesised: one for each set of parameters"),
        D("synthesis.library", "library", "", "name of the cell library, as its files state it"),
        D("synthesis.library_files[]", "files", "", "the Liberty files, without their folders"),
        D("synthesis.technology", "technology", "", "technology table of the estimates: the shipped one whose name stands "
          "in the library's, else the config's"),
        D("synthesis.area_um2", "area", "µm²", "all cells of the design"),
        D("synthesis.unprotected_area_um2", "without check unit", "µm²", "all cells of the same design without its check "
          "unit, synthesised by itself; null for an unprotected design"),
        D("synthesis.model_um2.value", "estimate", "µm²", "the cost model's area of operators and registers"),
        D("synthesis.model_um2.low", "low", "µm²", "lower end of its range"),
        D("synthesis.model_um2.high", "high", "µm²", "upper end"),
        D("synthesis.flip_flops_bits", "flip-flops", "bits", "flip-flops that synthesis made"),
        D("synthesis.flip_flops_as_inventory", "as inventory", "", "true if every module has exactly the flip-flops that "
          "the inventory has in it"),
        D("synthesis.flip_flop_differences[]", "differs", "", "each module that has not, in words"),
        D("synthesis.components.*.area_um2", "area", "µm²", "cells of a component: the logic of its modules, and the "
          "flip-flops of its registers"),
        D("synthesis.components.*.model_um2.value", "estimate", "µm²", "the cost model's area of the component"),
        D("synthesis.components.*.model_um2.low", "low", "µm²", "lower end of its range"),
        D("synthesis.components.*.model_um2.high", "high", "µm²", "upper end"),
        D("synthesis.overhead.synthesised", "area overhead", "", "area over unprotected area, less 1; `overhead` is null for "
          "an unprotected design"),
        D("synthesis.overhead.by_modules", "by modules", "", "cells of the check unit's modules and registers over all others"),
        D("synthesis.overhead.model.value", "cost model", "", "the cost model's overhead over the core, from that technology "
          "table"),
        D("synthesis.overhead.model.low", "low", "", "lower end of its 95 % interval"),
        D("synthesis.overhead.model.high", "high", "", "upper end"),
        D("synthesis.modules[].name", "module", "", "module of the sources, whatever its parameters"),
        D("synthesis.modules[].instances", "instances", "", "how often it stands in the design"),
        D("synthesis.modules[].area_um2", "area", "µm²", "all instances, without the modules inside them"),
        D("synthesis.modules[].flip_flops_um2", "of them flip-flops", "µm²", "the flip-flops of that area"),
        D("synthesis.modules[].flip_flops_bits", "flip-flops", "bits", "flip-flops that synthesis made in it"),
        D("synthesis.modules[].inventory_bits", "inventory", "bits", "flip-flops that the inventory has in it"),
    )),
    Section("Configs", ("configs",), "", (
        D("configs[].name", "config", "", "name that commands take"),
        D("configs[].path", "path", "", "the file"),
        D("configs[].description", "description", "", "`description` of the config"),
    )),
)


def lookup(key: str) -> Definition:
    """The definition of a key of `SECTIONS`, as it is written there. Raises KeyError."""
    return _BY_KEY[key]


def definition_of(path: tuple[str | int, ...], command: str) -> Definition | None:
    """The definition of one leaf of a document of `command`: a path of names and list indices."""
    parts = tuple("[]" if isinstance(part, int) else part for part in path)
    for section in SECTIONS:
        if command in section.documents:
            for definition in section.definitions:
                if _matches(parts, _parts(definition.key)):
                    return definition
    return None


def output_columns_markdown() -> str:
    """Every section as a Markdown table under a heading of level 3."""
    blocks = []
    for section in SECTIONS:
        blocks.append(f"### {section.title}")
        where = f"In the document{'s' if len(section.documents) > 1 else ''} of "
        where += ", ".join(f"`{name} --json`" for name in section.documents) + "."
        blocks.append(f"{where} {section.about}".strip())
        rows = ["| key | printed as | unit | definition |", "|---|---|---|---|"]
        rows += [
            "| " + " | ".join(cell.replace("|", "\\|") for cell in (f"`{d.key}`", d.label, d.unit or "–", d.about)) + " |"
            for d in section.definitions
        ]
        blocks.append("\n".join(rows))
    return "\n\n".join(blocks) + "\n"


def _parts(key: str) -> tuple[str, ...]:
    """`heads[].layer` as ("heads", "[]", "layer")."""
    return tuple(part for part in key.replace("[]", ".[]").split(".") if part)


def _matches(path: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    if pattern and pattern[-1] == "**":
        return _matches(path[: len(pattern) - 1], pattern[:-1])
    return len(path) == len(pattern) and all(
        want in ("*", part) for part, want in zip(path, pattern, strict=True)
    )


_BY_KEY = {definition.key: definition for section in SECTIONS for definition in section.definitions}

if __name__ == "__main__":
    print(output_columns_markdown(), end="")
