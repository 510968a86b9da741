"""What every test runs under."""

from __future__ import annotations

import signal

# A shell without job control starts background jobs with Ctrl-C ignored, and every process below inherits that. The
# tests that interrupt a command need it to listen, as it does for a person.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
