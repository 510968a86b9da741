"""The engines of the `gemm` machine: stepped, golden and replay, of a whole head.

The head is a chain of phases in which one unit works and the others stand still, so each unit has its own kernel:
`encoder_step`, the array (`accel_sim.arrays`) with the edge that checks it (`edge_step`), and `vector_step`.
"""
