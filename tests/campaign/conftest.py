from __future__ import annotations

import pytest

from accel_sim.assembly import Assembly, assemble
from accel_sim.config import Config, load_config
from campaign.doubles import Broken, Dying, Killed, Quick, Slow, installed


@pytest.fixture(scope="session")
def tiny() -> Config:
    return load_config("tiny")


@pytest.fixture(scope="session")
def assembly(tiny) -> Assembly:
    return assemble(tiny, measure=False)


@pytest.fixture
def stand_ins():
    with installed(Quick, Slow, Broken, Dying, Killed):
        yield
