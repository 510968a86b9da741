"""The `workload` section: what Q, K and V the accelerator is given."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import Field

from accel_sim.config.sections import SEED_MAX, Clash, Kinds, Section

MAX_TOKENS = 1_048_576
MAX_HEADS = 65_536

FileName: TypeAlias = Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00]*$")]
Selection: TypeAlias = Literal["all"] | Annotated[int, Field(ge=0, le=65_535)]


class Mask(Section):
    """Which keys a query may attend to."""

    added: ClassVar[frozenset[str]] = frozenset({"window"})

    causal: bool = Field(
        default=False,
        description="Whether a query sees only keys up to its own position; needs queries <= keys.",
    )
    valid_keys: Annotated[int, Field(ge=1, le=MAX_TOKENS)] | None = Field(
        default=None, description="Number of keys that are no padding; null means all of them."
    )
    window: Annotated[int, Field(ge=1, le=MAX_TOKENS)] | None = Field(
        default=None,
        description="Sliding window: a query sees no more than this many keys, the last of them at its own position; "
        "needs `causal`. null means all of them.",
    )

    def clashes(self) -> Iterator[Clash]:
        if self.window is not None and not self.causal:
            yield Clash(("window", "causal"), "a sliding window ends at a query's own position: it needs causal: true")


class CapturedWorkload(Section):
    """Q, K and V captured from a real model. Its head dimension must equal `architecture.head_dim`."""

    kind: Literal["captured"] = Field(
        default="captured", description="Selects tensors captured from a model."
    )
    path: FileName = Field(
        default="workloads/minilm-l6-v2.npz",
        description="The captured file (.npz), relative to the config that states it, else a shipped one.",
    )
    layer: Selection = Field(default=0, description="Layer to run, from 0, or `all`.")
    head: Selection = Field(default=0, description="Head to run, from 0, or `all`.")
    mask: Mask = Field(default=Mask(), description="Which keys a query may attend to.")


class RandomWorkload(Section):
    """What every workload of random tensors has.

    Prefill has as many queries as keys; in decoding, few queries (one, or what is guessed ahead) meet all keys in the
    cache. With a causal mask, queries are the last of the sequence.
    """

    added: ClassVar[frozenset[str]] = frozenset({"kv_heads", "layers"})

    queries: int = Field(default=256, ge=1, le=MAX_TOKENS, description="Queries of a head.")
    keys: int = Field(default=256, ge=1, le=MAX_TOKENS, description="Keys (and values) of a head.")
    heads: int = Field(default=1, ge=1, le=MAX_HEADS, description="Heads of a layer, each with queries of its own.")
    kv_heads: Annotated[int, Field(ge=1, le=MAX_HEADS)] | None = Field(
        default=None,
        description="Grouped-query attention: how many different keys and values the heads of a layer have; "
        "neighbouring heads share theirs. null: as many as heads.",
    )
    layers: int = Field(default=1, ge=1, le=65_536, description="Layers, all of one shape.")
    scale: float = Field(default=1.0, gt=0, le=1e6, description="Standard deviation of the elements.")
    seed: int = Field(default=0, ge=0, le=SEED_MAX, description="Seed of the tensors.")
    mask: Mask = Field(default=Mask(), description="Which keys a query may attend to.")

    def clashes(self) -> Iterator[Clash]:
        if self.kv_heads is not None and self.heads % self.kv_heads:
            message = f"heads must be a multiple of kv_heads (got {self.heads} heads, {self.kv_heads} kv_heads)"
            yield Clash(("kv_heads", "heads"), message)
        if self.heads * self.layers > MAX_HEADS:
            message = f"heads x layers must be at most {MAX_HEADS} (got {self.heads} x {self.layers})"
            yield Clash(("layers", "heads"), message)
        if self.mask.causal and self.queries > self.keys:
            message = f"a causal mask needs queries <= keys (got {self.queries} queries, {self.keys} keys)"
            yield Clash(("queries", "keys", "mask.causal"), message)
        valid = self.mask.valid_keys
        if valid is not None and valid > self.keys:
            yield Clash(
                ("mask.valid_keys", "keys"), f"valid_keys must be at most keys (got {valid} > {self.keys})"
            )


class GaussianWorkload(RandomWorkload):
    """Independent normal Q, K and V: no structure, the same for every machine of one size."""

    kind: Literal["gaussian"] = Field(default="gaussian", description="Selects random normal tensors.")


class OutliersWorkload(RandomWorkload):
    """Normal Q, K and V with a few channels far larger than the rest, as trained models have them."""

    kind: Literal["outliers"] = Field(
        default="outliers", description="Selects random tensors with outlier channels."
    )
    channels: int = Field(
        default=4, ge=0, le=1024, description="Channels that are outliers; at most `architecture.head_dim`."
    )
    factor: float = Field(
        default=20.0, gt=0, le=1e6, description="Ratio of those channels' standard deviation to the rest's."
    )


class FileWorkload(Section):
    """Q, K and V from a file of one's own. Its head dimension must equal `architecture.head_dim`."""

    kind: Literal["file"] = Field(default="file", description="Selects tensors from a file.")
    path: FileName = Field(
        description="An .npz with q, k and v of shape (tokens, head_dim), or an .npy of shape "
        "(3, tokens, head_dim); a leading axis of heads is allowed. Relative to the config that states it.",
    )
    mask: Mask = Field(default=Mask(), description="Which keys a query may attend to.")


class GemmWorkload(Section):
    """Plain products of normal matrices, M x K by K x N, as the projections and the MLP of a transformer layer are.

    Needs `architecture.kind: gemm`, which then has no vector unit: K is not bound to `architecture.head_dim`, and
    `exp`, `divide` and the formats `exp` and `output` are not used. The output has the format of the sums.
    """

    kind: Literal["gemm"] = Field(default="gemm", description="Selects plain matrix products.")
    m: int = Field(
        default=128, ge=1, le=MAX_TOKENS,
        description="Rows M of A and of the product: tokens; at most `architecture.max_queries`.",
    )
    n: int = Field(
        default=128, ge=1, le=MAX_TOKENS,
        description="Columns N of B and of the product: features that come out; at most `architecture.max_keys`.",
    )
    k: int = Field(default=128, ge=1, le=65_536, description="Columns K of A, rows of B: features that go in.")
    products: int = Field(default=1, ge=1, le=MAX_HEADS, description="How many, each with operands of its own.")
    scale: float = Field(default=1.0, gt=0, le=1e6, description="Standard deviation of the elements of A and B.")
    seed: int = Field(default=0, ge=0, le=SEED_MAX, description="Seed of the matrices.")


Workload: TypeAlias = Annotated[
    CapturedWorkload | GaussianWorkload | OutliersWorkload | FileWorkload | GemmWorkload,
    Kinds(CapturedWorkload, GaussianWorkload, OutliersWorkload, FileWorkload, GemmWorkload),
]
