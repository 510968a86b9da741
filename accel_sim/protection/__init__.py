"""Protection of registers by parity bits, codes and copies: a layer between a fault and any machine's engine.

- `codes`: what one element's protection makes of wrong bits;
- `guard`: a unit's registers; `parts`: which registers it protects; `protect`: all units of a machine;
- `stepped`, `replay`: a machine's engines with protection;
- `machine`: a machine with protection; `cost`: what the units add to its operators and register writes.

docs/machines/protection.md is the normative text.
"""
