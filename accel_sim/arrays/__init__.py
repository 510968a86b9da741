"""Systolic arrays: the registers of one, the stepped engine that clocks them, and the fault-free values.

`step` is one cycle as code (the definition of the hardware, with `accel_sim.machines.systolic`), `registers` the state
and what a fault does to it, `stepped` the engine, `golden` the same values without the registers, `operands` what
goes in. Folds, formulas and schedule stand in `accel_sim.machines`.
"""
