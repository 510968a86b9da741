"""Whatever a config file holds, it loads or raises ConfigError with a printable message; nothing else."""

from __future__ import annotations

import copy
import random

import pytest
import yaml

from accel_sim.config import Config, ConfigError, load_config, shipped_configs, yaml_reader
from accel_sim.config.load import _built
from accel_sim.config.yaml_reader import read_yaml

MUTANTS = 400
JUNK = [
    None,
    True,
    False,
    0,
    -1,
    1,
    3,
    10**18,
    2**62,
    1e-6,
    -0.5,
    1e308,
    float("inf"),
    float("nan"),
    "",
    "64",
    "yes",
    "lanes",
    "fused_output",
    "bf16",
    "all",
    "x" * 500,
    "a\x00b",
    "\x07",
    "é☺",
    [],
    {},
    [[]],
    [None],
    {"kind": "lanes"},
    {"kind": None},
    {"": ""},
    {"a.b": 1},
    ["registers", "registers"],
    [{"kind": []}],
    {"kind": {"kind": "x"}},
]
PIECES = [
    b"\t",
    b"\x00",
    b"\xff",
    b"*a",
    b"&a ",
    b"!!x ",
    b"[",
    b"]",
    b"{",
    b"}",
    b": ",
    b"\n",
    b"'",
    b'"',
    b"|",
    b"%",
    b"- ",
    b"? ",
    b"---\n",
    b"...\n",
    b"<<: ",
    b"\xc2\x85",
    b"\xe2\x80\xa8",
    b"1e999",
    b"9" * 50,
    b"#",
    b"\\u",
]


def load_bytes(data: bytes) -> Config | None:
    """The config, or None after checking that its error can be shown to a person."""
    try:
        return _built(read_yaml(data, "fuzz.yaml"))
    except ConfigError as error:
        message = str(error)
        message.encode("utf-8")
        assert message.startswith("fuzz.yaml")
        assert all(line.isprintable() for line in message.split("\n"))
        assert len(message) < 20_000
        return None


def containers(value, found):
    if isinstance(value, dict) and value:
        found.append(value)
        for item in value.values():
            containers(item, found)
    elif isinstance(value, list) and value:
        found.append(value)
        for item in value:
            containers(item, found)
    return found


def mutate_values(data, rng):
    """One to three values dropped, renamed, replaced, scaled, nested or swapped."""
    for _ in range(rng.randint(1, 3)):
        places = containers(data, [])
        if not places:
            return data
        place = rng.choice(places)
        key = rng.choice(list(place)) if isinstance(place, dict) else rng.randrange(len(place))
        match rng.randrange(6):
            case 0:
                del place[key]
            case 1 if isinstance(place, dict):
                place[key[:-1] + rng.choice("xyz_- .")] = place.pop(key)
            case 2:
                place[key] = rng.choice(JUNK)
            case 3 if isinstance(place[key], (int, float)):
                place[key] = place[key] * rng.choice([-1, 0, 0.5, 2, 1000, 1e30])
            case 4:
                for _ in range(rng.choice([1, 5, 40])):
                    place[key] = rng.choice([[place[key]], {"kind": place[key]}])
            case _:
                place[key] = copy.deepcopy(rng.choice(places))
    return data


def mutate_bytes(text, rng):
    """Bytes cut off, removed, doubled, overwritten or sprinkled with YAML's special characters."""
    data = bytearray(text)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(5):
            case 0:
                del data[at:]
            case 1:
                del data[at : at + rng.randint(1, 20)]
            case 2:
                data[at:at] = data[at : at + rng.randint(1, 60)]
            case 3:
                data[at : at + 1] = bytes([rng.randrange(256)])
            case _:
                data[at:at] = rng.choice(PIECES) * rng.choice([1, 1, 1, 50])
    return bytes(data)


@pytest.fixture(scope="module")
def seeds():
    """Every shipped config, spelled out in full and as it stands."""
    texts = [path.read_bytes() for path in shipped_configs().values()]
    texts += [
        yaml.safe_dump(load_config(name).model_dump(mode="json")).encode() for name in shipped_configs()
    ]
    return texts


def test_mutated_values_load_or_are_refused(seeds):
    rng = random.Random(1)
    loaded = 0
    for _ in range(MUTANTS):
        data = mutate_values(yaml.safe_load(rng.choice(seeds)), rng)
        text = yaml.safe_dump(data, allow_unicode=rng.random() < 0.5)
        loaded += load_bytes(text.encode()) is not None
    assert 0 < loaded < MUTANTS


@pytest.mark.parametrize("loader", ["CSafeLoader", "SafeLoader"])
def test_mutated_bytes_load_or_are_refused(seeds, loader, monkeypatch):
    monkeypatch.setattr(yaml_reader, "_LOADER", getattr(yaml, loader, yaml.SafeLoader))
    rng = random.Random(2)
    loaded = 0
    for _ in range(MUTANTS):
        loaded += load_bytes(mutate_bytes(rng.choice(seeds), rng)) is not None
    assert 0 < loaded < MUTANTS


def test_random_bytes_are_refused():
    rng = random.Random(3)
    for _ in range(200):
        load_bytes(rng.randbytes(rng.randrange(100)))
        load_bytes(bytes(rng.choice(b"ab:-?[]{}&*!|>'\"%@`#, \n\t") for _ in range(rng.randrange(40))))
