"""The commands: `accel-sim run | inject | campaign | validate | rtl | schema | configs`.

`main(argv)` parses, runs one command and turns whatever happens into an exit code and at most one message:

  0    done
  1    anything else; one line, with a hint to run again with --debug for the traceback
  2    bad input; one message: file, line, key, what is allowed
  130  interrupted (Ctrl-C)

Nothing heavy is imported before a command needs it, so that --help answers at once.
"""

from __future__ import annotations

from accel_sim.cli.main import main

__all__ = ["main"]
