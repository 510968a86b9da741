"""Documents as JSON, and numbers as people read them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from accel_sim.report.plain import dumps, plain
from accel_sim.report.text import count, number, percent, percent_span, quantity, scaled, span


def test_what_json_has_no_word_for_is_a_string_that_float_reads():
    text = dumps({"a": math.nan, "b": [math.inf, -math.inf], "c": np.float64("nan")})
    back = json.loads(text, parse_constant=pytest.fail)
    assert back == {"a": "NaN", "b": ["Infinity", "-Infinity"], "c": "NaN"}
    assert [float(back["b"][0]), float(back["b"][1])] == [math.inf, -math.inf]
    assert math.isnan(float(back["a"]))


def test_arrays_scalars_and_paths_are_plain():
    data = {"x": np.arange(3), "y": np.int64(4), "z": (1, None, True), "p": Path("a/b"), "b": np.bool_(True)}
    assert plain(data) == {"x": [0, 1, 2], "y": 4, "z": [1, None, True], "p": "a/b", "b": True}


def test_anything_else_is_refused():
    with pytest.raises(TypeError, match="object"):
        plain({"x": object()})


def test_floats_survive_the_trip():
    values = [0.1, 1e-300, 2**-1074, 1.7976931348623157e308, -0.0]
    assert json.loads(dumps(values)) == values


@pytest.mark.parametrize(("value", "text"), [
    (0, "0"), (1, "1.00"), (1234.5, "1,234"), (0.00012345, "0.000123"), (0.000012345, "1.23e-05"), (12.345, "12.3"),
    (1e6, "1,000,000"), (1e7, "1.00e+07"), (-2.5, "-2.50"), (math.inf, "∞"), (-math.inf, "−∞"), (math.nan, "NaN"),
    (None, "–"), (99.95, "100.0"), (0.5, "0.500"),
])  # fmt: skip
def test_numbers_have_three_digits(value, text):
    assert number(value) == text


def test_other_ways_of_writing_numbers():
    assert count(1234567) == "1,234,567"
    assert count(None) == "–"
    assert percent(0.0532) == "5.32%"
    assert span(1.0, 2.5) == "1.00–2.50"
    assert percent_span(0.041, 0.058) == "4.10–5.80%"


@pytest.mark.parametrize(("value", "unit", "text"), [
    (12.3, "pJ", "12.3 pJ"), (12_300, "pJ", "12.3 nJ"), (4.5e7, "pJ", "45.0 µJ"), (900, "um2", "900 µm²"),
    (250_000, "um2", "0.250 mm²"), (0.1, "us", "0.100 µs"), (2500, "us", "2.50 ms"), (2048, "B", "2.00 KiB"),
    (0, "pJ", "0 pJ"),
])  # fmt: skip
def test_units_suit_the_number(value, unit, text):
    assert quantity(value, unit) == text
    name, size = scaled(value, unit)
    assert quantity(value, unit).endswith(name)
    assert size >= 1
