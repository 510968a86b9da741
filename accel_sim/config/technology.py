"""The `technology` section: what the hardware is made in."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from accel_sim.config.sections import Section


class Technology(Section):
    """What the hardware is made in: the table behind area and energy."""

    name: Annotated[str, Field(min_length=1, max_length=200)] = Field(
        default="28nm", description="Name of the technology table."
    )
