"""What the replay engine keeps of the fault-free run of one head."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Store(NamedTuple):
    """The golden state of a head. T is float32 when no format from operand to state is wider, else float64.

    q (Nq, d), k (N, d), k_t (d, N), v (N, d), v_t (d, N): quiet operands, type T. scale: what dot products are
    multiplied by. P, A (Nq, N), type T: weight and correction of each key. m_start, m_key, m_value: running maxima, as
    in `golden.Maxima`. r (N,) float64: row sums of v. o (Nq, d) float64: outputs. sums (Nq, 2): final l and c. terms
    (Nq, 2): predicted and actual row sum. scan_terms (Nq, tiles, 2): the same, undivided, at each key-tile boundary.
    o_at (Nq, K, d) of type T, l_at and c_at (Nq, K) float64: the accumulators of each query after n · spacing keys, for
    n = 0 … K − 1. out_tree (Nq, W) float64: levels of the adder tree that sums each output row.
    """

    q: np.ndarray
    k: np.ndarray
    k_t: np.ndarray
    v: np.ndarray
    v_t: np.ndarray
    scale: float
    P: np.ndarray
    A: np.ndarray
    m_start: np.ndarray
    m_key: np.ndarray
    m_value: np.ndarray
    r: np.ndarray
    o: np.ndarray
    sums: np.ndarray
    terms: np.ndarray
    scan_terms: np.ndarray
    o_at: np.ndarray
    l_at: np.ndarray
    c_at: np.ndarray
    out_tree: np.ndarray
    spacing: int
