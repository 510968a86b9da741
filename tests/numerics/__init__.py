"""Proofs of the numbers: every operation against an authority that shares no code with it."""
