"""SRAM words that faults strike, cycle by cycle: the part of the stepped engine that is not registers.

A word that nothing strikes delivers what was written into it, so only struck words are kept: `Words` has each one's
code word as it stands in the bank, rewritten, struck, read and decoded when the machine does so. `advance` of
`engines.stepped` calls, in every cycle, `strike_words` before the machine moves and `serve_words` after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from accel_sim.engines.lanes_log import CYCLE, SWAPS, TILE
from accel_sim.engines.lanes_step import Data, Geometry
from accel_sim.faults.fault import Fault
from accel_sim.machines.lanes import STREAM, SWAP
from accel_sim.machines.memories import TENSORS, Memories
from accel_sim.numerics.check_bits import PROTECTIONS
from accel_sim.numerics.ecc import decode_word, encode_word, stored_pattern
from accel_sim.numerics.formats import Codec
from accel_sim.numerics.jit import kernel
from accel_sim.numerics.rounding import flip_bits

Q, K, V, O = range(4)  # noqa: E741 (the tensors' own names)
NOTHING = -1


class Words(NamedTuple):
    """Struck words, and what strikes them.

    A word w: tensor, bank, row, the first of its `elements` elements of `width` bits, `bits` data bits; banks of its
    memory; arith, stored (w, 4) `Codec` fields. holder: the tile (k, v), block (q) or query (o) that it holds, or
    NOTHING. data, check: what stands in it; written: its data as written. read: it has been read since.
    alarm (1,): first clock cycle in which the memory alarm reads 1, or −1. resident: K and V have a bank a tile.
    A fault f strikes `word[f]` in cycles first_cycle … end − 1 with masks over data and check bits; kind 0 inverts,
    1 forces to 0, 2 forces to 1.
    """

    tensor: np.ndarray
    bank: np.ndarray
    row: np.ndarray
    first: np.ndarray
    elements: np.ndarray
    width: np.ndarray
    bits: np.ndarray
    hamming: np.ndarray
    banks: np.ndarray
    arith: np.ndarray
    stored: np.ndarray
    holder: np.ndarray
    data: np.ndarray
    check: np.ndarray
    written: np.ndarray
    read: np.ndarray
    alarm: np.ndarray
    protection: int
    resident: bool
    word: np.ndarray
    first_cycle: np.ndarray
    end: np.ndarray
    data_mask: np.ndarray
    check_mask: np.ndarray
    kind: np.ndarray


def split_masks(bit: np.ndarray, bits: np.ndarray, data_bits: int) -> tuple[np.ndarray, np.ndarray]:
    """(data, check) masks (uint64) of bits bit … bit + bits − 1 of code words (int64 arrays of one length)."""
    masks = np.zeros((2, len(bit)), dtype=np.uint64)
    for n in range(int(bits.max(initial=0))):
        at = bit + n
        inside = n < bits
        for part, where, low in ((0, inside & (at < data_bits), 0), (1, inside & (at >= data_bits), data_bits)):
            masks[part, where] |= np.uint64(1) << (at[where] - low).astype(np.uint64)
    return masks[0], masks[1]


def words_of(faults: Sequence[Fault], memories: Memories, g: Geometry, env: np.ndarray, around: Data) -> Words:
    """The words that `faults` strike (all of them in memories, checked), as they stand at the start of a swap or of
    the run; `env` and the outputs so far are that moment's."""
    places = sorted({(TENSORS.index(memories[f.register].tensor), f.index) for f in faults})
    owners = [memories.of(TENSORS[tensor]) for tensor, _ in places]
    number = {place: w for w, place in enumerate(places)}
    masks = [tuple(int(part[0]) for part in split_masks(
        np.array([f.bit]), np.array([f.bits if f.kind == "burst" else 1]), memories[f.register].word_bits))
        for f in faults]

    def ints(values: Sequence[int]) -> np.ndarray:
        return np.array(values, dtype=np.int64)

    def fields(formats: Sequence[Any]) -> np.ndarray:
        return np.array([fmt.codec for fmt in formats], dtype=np.int64).reshape(-1, 4)

    n = len(places)
    words = Words(
        tensor=ints([tensor for tensor, _ in places]),
        bank=ints([index[0] for _, index in places]),
        row=ints([index[1] for _, index in places]),
        first=ints([index[2] * m.word_elements for (_, index), m in zip(places, owners, strict=True)]),
        elements=ints([m.word_elements for m in owners]),
        width=ints([m.stored.width_bits for m in owners]),
        bits=ints([m.word_bits for m in owners]),
        hamming=ints([m.hamming_bits for m in owners]),
        banks=ints([m.shape[0] for m in owners]),
        arith=fields([m.format for m in owners]),
        stored=fields([m.stored for m in owners]),
        holder=np.full(n, NOTHING - 1, dtype=np.int64),
        data=np.zeros(n, dtype=np.uint64),
        check=np.zeros(n, dtype=np.uint64),
        written=np.zeros(n, dtype=np.uint64),
        read=np.zeros(n, dtype=np.bool_),
        alarm=ints([-1]),
        protection=PROTECTIONS.index(memories.memories[0].protection),
        resident=memories.resident,
        word=ints([number[TENSORS.index(memories[f.register].tensor), f.index] for f in faults]),
        first_cycle=ints([f.cycle for f in faults]),
        end=ints([f.end for f in faults]),
        data_mask=np.array([data for data, _ in masks], dtype=np.uint64),
        check_mask=np.array([check for _, check in masks], dtype=np.uint64),
        kind=ints([{"stuck0": 1, "stuck1": 2}.get(f.kind, 0) for f in faults]),
    )
    fill_words(words, g, env, around)
    return words


@kernel
def codec_of(fields):
    """A row of `Words.arith` or `Words.stored` as a `Codec`."""
    return Codec(fields[0], fields[1], fields[2], fields[3])


@kernel
def pattern_of(values, row, first, count, width, arith, stored):
    """Stored bits (uint64) of elements first … of a row of `values`, the first lowest."""
    pattern = np.uint64(0)
    for j in range(count):
        pattern |= np.uint64(stored_pattern(values[row, first + j], arith, stored)) << np.uint64(j * width)
    return pattern


@kernel
def element_mask(mask, j, width):
    """The bits of element j of a word's mask, at the element's own places."""
    mask = mask >> np.uint64(j * width)
    return mask if width == 64 else mask & ((np.uint64(1) << np.uint64(width)) - np.uint64(1))


@kernel
def held(counter, total, banks, bank):
    """Tile or block that stands in a bank: `counter` is the one in use, banks − 1 more are ahead of it, and past the
    last one the bank keeps what it had; NOTHING in a bank that was never filled."""
    tile = counter + (bank - counter) % banks
    while tile >= total:
        tile -= banks
    return max(tile, NOTHING)


@kernel
def write_word(W, w, holder, values, row):
    """Write a row's elements (row NOTHING: zeros) with their check bits."""
    pattern = np.uint64(0)
    if row != NOTHING:
        pattern = pattern_of(values, row, W.first[w], W.elements[w], W.width[w], codec_of(W.arith[w]),
                             codec_of(W.stored[w]))
    W.holder[w] = holder
    W.written[w] = pattern
    W.data[w] = pattern
    W.check[w] = encode_word(pattern, W.hamming[w], W.protection)
    W.read[w] = False


@kernel
def refill(W, g, env, data):
    """Rewrite the words of banks whose tile or block has changed: the counters are the memory system's own."""
    for w in range(W.tensor.shape[0]):
        tensor, bank = W.tensor[w], W.bank[w]
        if tensor == O:
            continue
        if tensor == Q:
            holder = held(env[SWAPS], g.blocks, W.banks[w], bank)
            row = holder * g.lanes + W.row[w] if holder != NOTHING else NOTHING
            if holder != W.holder[w]:
                write_word(W, w, holder, data.q, row if row < g.n_queries else NOTHING)
            continue
        if W.resident:
            holder = bank if bank < g.tiles else NOTHING
        else:
            holder = held(env[TILE], g.blocks * g.tiles, W.banks[w], bank)
        row = (holder % g.tiles) * g.key_tile + W.row[w] if holder != NOTHING else NOTHING
        if holder != W.holder[w]:
            write_word(W, w, holder, data.k if tensor == K else data.v, row if row < g.n_keys else NOTHING)


@kernel
def fill_words(W, g, env, data):
    """What stands in the banks at reset or as a swap begins: the rows of all blocks but the last one streamed, which
    is still in the lanes, have been stored."""
    refill(W, g, env, data)
    for w in range(W.tensor.shape[0]):
        if W.tensor[w] == O:
            last = min(env[SWAPS] - 2, (g.n_queries - 1 - W.row[w]) // g.lanes)
            block = last - (last - W.bank[w]) % W.banks[w]
            query = block * g.lanes + W.row[w] if last >= 0 and block >= 0 else NOTHING
            write_word(W, w, query, data.o, query)


@kernel
def strike_words(W, cycle):
    """Apply the faults that act at the start of `cycle`."""
    for f in range(W.word.shape[0]):
        if W.first_cycle[f] <= cycle < W.end[f]:
            w = W.word[f]
            if W.kind[f] == 0:
                W.data[w] ^= W.data_mask[f]
                W.check[w] ^= W.check_mask[f]
            elif W.kind[f] == 1:
                W.data[w] &= ~W.data_mask[f]
                W.check[w] &= ~W.check_mask[f]
            else:
                W.data[w] |= W.data_mask[f]
                W.check[w] |= W.check_mask[f]


@kernel
def read_word(W, w, alarm_cycle):
    """Read a word through its decoder: the wrong bits that it delivers. An alarm can be read in `alarm_cycle`."""
    delivered, alarm = decode_word(W.data[w], W.check[w], W.bits[w], W.hamming[w], W.protection)
    if alarm and W.alarm[0] < 0:
        W.alarm[0] = alarm_cycle
    W.read[w] = True
    return delivered ^ W.written[w]


@kernel
def change_elements(W, w, values, at, mask):
    """Invert the bits of a word's mask in its elements, which stand in `values` from slot `at` of their row on."""
    arith, stored = codec_of(W.arith[w]), codec_of(W.stored[w])
    for j in range(W.elements[w]):
        bits = element_mask(mask, j, W.width[w])
        if bits != np.uint64(0):
            slot = at + W.first[w] + j
            values[slot] = flip_bits(values[slot], arith, stored, bits)


@kernel
def ports(R, s, g, env):
    """What the memory's ports see in the cycle about to be executed: (bank and row of K/V or −1, query that is
    loaded and into which lane or −1, query that is stored or −1)."""
    bank = row = query = lane = address = -1
    phase = int(R[s.phase])
    if phase == STREAM:
        row = int(R[s.key]) & (g.key_tile - 1)
        # The machine asks for the tile at its counter or, with the other bank, for the one after.
        bank = env[TILE] + (1 if (env[TILE] & 1) != int(R[s.kv_bank]) else 0)
    elif phase == SWAP and int(R[s.row]) < g.lanes:
        query, lane = int(R[s.query]), int(R[s.row])
        if query > int(R[s.last_query]) or query >= g.n_queries:
            query = -1
    if R[s.out_valid] != 0.0 and int(R[s.out_addr]) < g.n_queries:
        address = int(R[s.out_addr])
    return bank, row, query, lane, address


@kernel
def serve_words(W, seen, R, s, g, env, data):
    """After a cycle in which the ports saw `seen`: what was read from struck words reaches the registers, what was
    stored replaces what stood there, and banks whose turn has come are rewritten."""
    tile, key_row, query, lane, address = seen
    d = g.head_dim
    now = env[CYCLE] + 1
    for w in range(W.tensor.shape[0]):
        tensor = W.tensor[w]
        if tensor == Q:
            if query >= 0 and W.bank[w] == (query // g.lanes) % W.banks[w] and W.row[w] == query % g.lanes:
                change_elements(W, w, R, s.q + lane * d, read_word(W, w, now))
        elif tensor == O:
            if address >= 0 and W.bank[w] == (address // g.lanes) % W.banks[w] and W.row[w] == address % g.lanes:
                if W.holder[w] not in (NOTHING, address):
                    leave(W, w, data, now)
                write_word(W, w, address, data.o, address)
        elif key_row == W.row[w] and tile >= 0:
            bank = tile % g.tiles if W.resident else tile % W.banks[w]
            if bank == W.bank[w]:
                change_elements(W, w, R, s.k if tensor == K else s.v, read_word(W, w, now))
    refill(W, g, env, data)


@kernel
def leave(W, w, data, alarm_cycle):
    """A row of outputs leaves for off-chip memory, through the decoder."""
    change_elements(W, w, data.o[W.holder[w]], 0, read_word(W, w, alarm_cycle))


@kernel
def finish_words(W, data, cycle):
    """The run is over at `cycle`: what stands in the O SRAM leaves it."""
    for w in range(W.tensor.shape[0]):
        if W.tensor[w] == O and W.holder[w] != NOTHING:
            leave(W, w, data, cycle)
            W.holder[w] = NOTHING


def settled(W: Words) -> bool:
    """Nothing that stands in these words will change what the machine does or delivers."""
    spent = W.read & (W.tensor != O) & ~(W.resident & ((W.tensor == K) | (W.tensor == V)))
    check = [encode_word(x, h, W.protection) for x, h in zip(W.written, W.hamming, strict=True)]
    clean = (W.data == W.written) & (W.check == np.array(check, dtype=np.uint64))
    return bool(np.all(spent | clean))


def element_value(W: Words, w: int, bit: int, around: Data, g: Geometry) -> float:
    """Value of the element that bit `bit` of word w belongs to, as it now stands there; NaN for a check bit and in a
    word that holds nothing."""
    holder = int(W.holder[w])
    if bit >= W.bits[w] or holder == NOTHING:
        return float("nan")
    tensor, row = int(W.tensor[w]), int(W.row[w])
    rows = {Q: holder * g.lanes + row, O: holder}.get(tensor, (holder % g.tiles) * g.key_tile + row)
    values = (around.q, around.k, around.v, around.o)[tensor]
    j = bit // int(W.width[w])
    written = float(values[rows, int(W.first[w]) + j]) if rows < len(values) else 0.0
    wrong = element_mask(W.data[w] ^ W.written[w], j, W.width[w])
    return float(flip_bits(written, codec_of(W.arith[w]), codec_of(W.stored[w]), np.uint64(wrong)))
