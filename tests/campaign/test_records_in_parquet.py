"""Records as Parquet: nothing lost on the way, and a file that explains itself."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from accel_sim.campaign.columns import COLUMNS
from accel_sim.campaign.sampling import Sampling
from accel_sim.campaign.schema import arrow_schema, labels_of, to_batch, to_parquet, to_table
from campaign.doubles import AWKWARD, Quick


@pytest.fixture(scope="module")
def labels(assembly):
    return labels_of(assembly)


@pytest.fixture(scope="module")
def batch(assembly):
    return Quick(assembly, Sampling().sampler(assembly)).records(0, 1000)


@pytest.fixture(scope="module")
def file(batch, labels):
    return pq.ParquetFile(io.BytesIO(to_parquet(batch, labels, {"who": "me"})))


def test_every_bit_of_every_record_comes_back(batch, labels, file):
    back = to_batch(file.read(), labels)
    assert list(back) == [column.name for column in COLUMNS]
    for column in COLUMNS:
        assert back[column.name].dtype == column.dtype
        assert back[column.name].tobytes() == batch[column.name].tobytes(), column.name
    # NaN payloads, infinities, negative zero and subnormals were among them.
    assert set(back["old_value"].view(np.uint64)) == set(AWKWARD.view(np.uint64))


def test_codes_become_names(batch, labels, file):
    table = file.read()
    for name, known in labels.items():
        assert pa.types.is_dictionary(table.schema.field(name).type)
        assert table.column(name).to_pylist() == [known[code] for code in batch[name]]


def test_every_column_says_what_it_is(file):
    schema = file.schema_arrow
    assert schema.names == [column.name for column in COLUMNS]
    for column in COLUMNS:
        field = schema.field(column.name)
        assert not field.nullable
        said = {key.decode(): value.decode() for key, value in field.metadata.items() if key != b"PARQUET:field_id"}
        assert said == {"unit": column.unit, "role": column.role, "about": column.about}
        assert column.role in ("cause", "observable", "outcome")
        assert column.about


def test_what_is_written_has_the_schema_that_is_promised(batch, labels, file):
    assert to_table(batch, labels).schema.equals(arrow_schema())
    for promised, written in zip(arrow_schema(), file.schema_arrow, strict=True):
        assert promised.equals(written)


def test_equal_records_are_equal_bytes(batch, labels):
    assert to_parquet(batch, labels, {"a": "b"}) == to_parquet(dict(batch), dict(labels), {"a": "b"})


def test_metadata_stands_in_the_footer(file):
    assert file.metadata.metadata[b"who"] == b"me"
