"""SRAM words of machines that work through a program: what stands in them when, and what a struck one delivers.

`plan` says which tile is in which slot when, `fused` (one for each machine) in which cycles the datapath reads and
writes an element, `struck` follows struck words for the stepped engines, and `told` many faults at once for replay.
docs/machines/fused.md (Memory) is the text of the same.
"""
