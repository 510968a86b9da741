"""The `recovery` section: what happens after an alarm."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from accel_sim.config.sections import Kinds, Section


class NoRecovery(Section):
    """An alarm is reported, and nothing else happens."""

    kind: Literal["none"] = Field(default="none", description="Selects alarms without recovery.")


class ReexecuteRecovery(Section):
    """After an alarm, the unit of work that raised it (the checker's granularity) runs again."""

    kind: Literal["reexecute"] = Field(default="reexecute", description="Selects re-execution.")


Recovery: TypeAlias = Annotated[NoRecovery | ReexecuteRecovery, Kinds(NoRecovery, ReexecuteRecovery)]
