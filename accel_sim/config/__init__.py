"""Configurations: YAML in, frozen and validated models out.

`load_config(path)` gives a `Config` or raises `ConfigError` with file, line, key and what is allowed.
"""

from __future__ import annotations

from accel_sim.config.architecture import Architecture
from accel_sim.config.arithmetic import (
    ROLES,
    ExactDivide,
    ExactExp,
    Formats,
    PwlExp,
    ReciprocalPwlDivide,
)
from accel_sim.config.checker import (
    AbsoluteThreshold,
    BoundThreshold,
    CalibratedThreshold,
    Checker,
    FusedOutputUnit,
    RelativeThreshold,
    Shares,
    Threshold,
    Unit,
)
from accel_sim.config.errors import ConfigError, Mark, Problem
from accel_sim.config.faults import Faults, RegisterFormats
from accel_sim.config.identity import config_hash, to_dict
from accel_sim.config.lanes import LanesArchitecture
from accel_sim.config.load import config_from_dict, load_config
from accel_sim.config.memory import Memory, OffChip
from accel_sim.config.paths import resolve_config, resolve_data_file, shipped_configs, shipped_configs_dir
from accel_sim.config.recovery import NoRecovery, Recovery, ReexecuteRecovery
from accel_sim.config.reference import reference_markdown, schema
from accel_sim.config.root import Config
from accel_sim.config.technology import Technology
from accel_sim.config.workload import (
    CapturedWorkload,
    FileWorkload,
    GaussianWorkload,
    GemmWorkload,
    Mask,
    OutliersWorkload,
    Workload,
)

__all__ = [
    "ROLES",
    "AbsoluteThreshold",
    "Architecture",
    "BoundThreshold",
    "CalibratedThreshold",
    "CapturedWorkload",
    "Checker",
    "Config",
    "ConfigError",
    "ExactDivide",
    "ExactExp",
    "Faults",
    "FileWorkload",
    "Formats",
    "FusedOutputUnit",
    "GaussianWorkload",
    "GemmWorkload",
    "LanesArchitecture",
    "Mark",
    "Mask",
    "Memory",
    "NoRecovery",
    "OffChip",
    "OutliersWorkload",
    "Problem",
    "PwlExp",
    "ReciprocalPwlDivide",
    "Recovery",
    "ReexecuteRecovery",
    "RegisterFormats",
    "RelativeThreshold",
    "Shares",
    "Technology",
    "Threshold",
    "Unit",
    "Workload",
    "config_from_dict",
    "config_hash",
    "load_config",
    "reference_markdown",
    "resolve_config",
    "resolve_data_file",
    "schema",
    "shipped_configs",
    "shipped_configs_dir",
    "to_dict",
]
