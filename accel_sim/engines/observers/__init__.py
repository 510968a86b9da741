"""The check units of the `lanes` machine that only look: `score_rowsum` and `softmax_invariants`.

- `step`: what their registers do in a cycle; the definition.
- `golden`: the same of a whole fault-free head.
- `replay`, `replay_kernel`, ...: what faults do to their comparisons, without running anything.
"""
