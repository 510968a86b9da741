"""The replay engine: from one fault-free run, each fault recomputes only what it can reach.

`engine` is the way in. A fault strikes a part of the machine (`stage`, `broadcast`, `lane`, `drain`, `check`; `control`
and `sram` for what is no value on its way). That part says which weights or accumulators change (`strike`, `scores`,
`weights`), which rows are run again (`rerun`, `side_by_side`, on the sums of `chains`) and what is left of them
(`finish`, `compare`).
"""
