"""Which function runs which command. Each lives in a module of its own, loaded when it is called for."""

from __future__ import annotations

from argparse import Namespace


def run_command(options: Namespace) -> None:
    """Run the command that was parsed."""
    match options.command:
        case "run":
            from accel_sim.cli.run import run

            run(options)
        case "inject":
            from accel_sim.cli.inject import inject

            inject(options)
        case "campaign":
            from accel_sim.cli.campaign import campaign

            campaign(options)
        case "validate":
            from accel_sim.cli.validate import validate

            validate(options)
        case "rtl":
            from accel_sim.cli.rtl import rtl

            rtl(options)
        case "schema":
            from accel_sim.cli.schema import schema

            schema(options)
        case "configs":
            from accel_sim.cli.configs import configs

            configs(options)
        case other:
            raise AssertionError(f"no such command: {other}")
