"""The engines of the `fused` machine.

`arithmetic` has the operations that the array adds to those of `accel_sim.numerics`, `step` one cycle as code (with
`accel_sim.machines.fused` the definition of the hardware), `build` what it is given, `stepped` the engine that clocks
it, `golden` the fault-free values without the registers, `waves` and `replay` many single faults at once.
"""
