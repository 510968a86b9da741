"""What people and programs read: tables, JSON documents, figures, and the definition of every number in them.

- `definitions`: name, unit and meaning of every output; docs/output-columns.md is made from it.
- `documents`: results as plain data. `plain`: plain data as JSON text.
- `run_text`, `inject_text`, `campaign_text`: the same for people, on a terminal or through a pipe.
- `figures`: the PNGs.
- `accuracy`, `attention_map`: numbers that only reports need.
"""
