"""accel-sim: cycle-accurate, bit-exact simulation of fault-checked attention accelerators.

What a checksum unit costs, which faults it catches, which slip through, and how many cycles later it says so:

>>> import accel_sim
>>> run = accel_sim.simulate("tiny")                      # a shipped config, a path, or a Config
>>> run.system.total_cycles, round(run.utilisation, 3)
(56, 0.268)
>>> story = accel_sim.inject("tiny", register="o", index=(0, 2), bit=30, cycle=12)
>>> story.outcome, story.latency_cycles
('detected', 44)
>>> from tempfile import TemporaryDirectory
>>> with TemporaryDirectory() as folder:                  # the records go here; ./runs if it is left out
...     result = accel_sim.campaign("tiny", n=64, out=folder, workers=1)
>>> str(result.rates()["coverage"].interval)              # of the faults that made the output wrong
'0.3846 [0.1647, 0.65]'

The same things as commands: `accel-sim run tiny`, `accel-sim inject tiny ...`, `accel-sim campaign tiny -n 64`.
Names are loaded at first use, so that `import accel_sim` stays cheap.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accel_sim.api import Simulation, campaign, inject, simulate
    from accel_sim.config import Config, ConfigError, load_config

    __version__: str

__all__ = ["Config", "ConfigError", "Simulation", "__version__", "campaign", "inject", "load_config", "simulate"]

_HOME = {
    "Config": "accel_sim.config",
    "ConfigError": "accel_sim.config",
    "Simulation": "accel_sim.api",
    "inject": "accel_sim.api",
    "load_config": "accel_sim.config",
    "simulate": "accel_sim.api",
}


class _CampaignPackage(ModuleType):
    """`accel_sim.campaign` is the package of that name and, when called, the function `accel_sim.api.campaign`."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from accel_sim.api import campaign as run

        return run(*args, **kwargs)


class _Package(ModuleType):
    """This package. Importing a subpackage sets it as an attribute here: the moment to make one callable."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "campaign" and isinstance(value, ModuleType):
            value.__class__ = _CampaignPackage
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value: Any = _version()
    elif name == "campaign":
        value = import_module("accel_sim.campaign")
    elif name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _version() -> str:
    """The version of the installed distribution; of a checkout that was never installed, `0+unknown`."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("accel-sim")
    except PackageNotFoundError:
        return "0+unknown"
