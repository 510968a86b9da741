"""The `architecture` section: one of the kinds of machine."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from accel_sim.config.fused import FusedArchitecture
from accel_sim.config.gemm import GemmArchitecture
from accel_sim.config.lanes import LanesArchitecture
from accel_sim.config.sections import Kinds

Architecture: TypeAlias = Annotated[
    LanesArchitecture | GemmArchitecture | FusedArchitecture,
    Kinds(LanesArchitecture, GemmArchitecture, FusedArchitecture),
]
