"""Any sequence of calls leaves the index in step with a plain dict."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from checks import assert_hits, assert_range, next_id
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from kinds import BITS, KINDS
from reference import Model

import nearbit as nb

DIM = 16
IDS = st.integers(0, 40)
ID_LISTS = st.lists(IDS, max_size=12, unique=True)
SEEDS = st.integers(0, 2**32 - 1)


class Life(RuleBasedStateMachine):
    """Calls in any order; few ids, so that they meet again and again."""

    kind = BITS

    def __init__(self):
        super().__init__()
        self.index = self.kind.new(DIM)
        self.model = Model(self.kind.metric)

    def fresh(self, n, seed):
        """Rows of small numbers (equal rows and equal distances abound), or of any."""
        rng = np.random.default_rng(seed)
        make = self.kind.whole_rows if seed % 2 else self.kind.rows
        return make(n, DIM, rng)

    def known(self, ids):
        return [i for i in ids if i in self.model.rows]

    @rule(n=st.integers(0, 70), seed=SEEDS)
    def add(self, n, seed):
        rows = self.fresh(n, seed)
        np.testing.assert_array_equal(self.index.add(rows), self.model.add(rows))

    @rule(ids=ID_LISTS, seed=SEEDS)
    def add_with_ids(self, ids, seed):
        rows = self.fresh(len(ids), seed)
        if self.known(ids):
            with pytest.raises(ValueError, match="ids: expected"):
                self.index.add(rows, ids=ids)
        else:
            np.testing.assert_array_equal(
                self.index.add(rows, ids=np.array(ids, np.int64)), self.model.add(rows, ids)
            )

    @rule(ids=ID_LISTS, seed=SEEDS)
    def update(self, ids, seed):
        rows = self.fresh(len(ids), seed)
        if len(self.known(ids)) < len(ids):
            with pytest.raises(KeyError):
                self.index.update(ids, rows)
        else:
            self.index.update(np.array(ids, np.int64), rows)
            self.model.update(ids, rows)

    @rule(ids=ID_LISTS, seed=SEEDS)
    def upsert(self, ids, seed):
        rows = self.fresh(len(ids), seed)
        self.index.upsert(np.array(ids, np.int64), rows)
        self.model.upsert(ids, rows)

    @rule(ids=ID_LISTS)
    def remove_what_is_there(self, ids):
        known = np.array(self.known(ids), np.int64)
        assert self.index.remove(known) == self.model.remove(known)

    @rule(ids=ID_LISTS)
    def remove_whatever_is_there(self, ids):
        ids = np.array(ids, np.int64)
        assert self.index.remove(ids, missing="ignore") == self.model.remove(ids)

    @precondition(lambda self: len(self.model.rows) > 30)
    @rule(seed=SEEDS)
    def remove_most(self, seed):
        gone = np.random.default_rng(seed).permutation(self.model.ids)[: len(self.model.rows) - 5]
        assert self.index.remove(gone) == self.model.remove(gone)

    @rule()
    def compact(self):
        self.index.compact()

    @rule(n=st.integers(0, 200))
    def reserve(self, n):
        self.index.reserve(n)

    @rule(how=st.sampled_from(["copy", "bytes", "load", "load mapped and copy"]))
    def exchange_for_what_comes_back(self, how):
        if how == "copy":
            self.index = self.index.copy()
        elif how == "bytes":
            self.index = nb.Index.from_bytes(self.index.to_bytes())
        else:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "index"
                self.index.save(path)
                self.index = nb.load(path, mmap="mapped" in how)
                if "mapped" in how:
                    self.index = self.index.copy()

    @rule(nq=st.integers(0, 9), k=st.integers(1, 90), seed=SEEDS)
    def search(self, nq, k, seed):
        queries = self.fresh(nq, seed)
        hits = self.index.search(queries, k)
        assert_hits(hits, self.kind, queries, self.rows(), self.model.ids, k)

    @rule(allowed=st.lists(st.integers(0, 90), max_size=40), k=st.integers(1, 20), seed=SEEDS)
    def search_some(self, allowed, k, seed):
        queries = self.fresh(3, seed)
        allowed = np.array(allowed, np.int64)
        hits = self.index.search(queries, k, filter=allowed)
        assert_hits(hits, self.kind, queries, self.rows(), self.model.ids, k, allowed=allowed)

    @rule(radius=st.floats(-40, 60, width=32), seed=SEEDS)
    def range_search(self, radius, seed):
        queries = self.fresh(3, seed)
        found = self.index.range_search(queries, radius)
        assert_range(found, self.kind, queries, self.rows(), self.model.ids, radius)

    def rows(self):
        return self.model.matrix(self.kind.width(DIM), self.kind.dtype)

    @invariant()
    def they_hold_the_same(self):
        np.testing.assert_array_equal(self.index.ids, self.model.ids)
        assert len(self.index) == len(self.model.rows)
        assert (3 in self.index) == (3 in self.model.rows)
        assert next_id(self.index) == self.model.next_id
        np.testing.assert_array_equal(self.index.get(self.model.ids), self.kind.stored(self.rows()))


def life_of(kind):
    """A test case of its own for each kind."""
    name = "".join(part.capitalize() for part in (kind.codec, kind.metric))
    machine = type(f"Life{name}", (Life,), {"kind": kind})
    case = machine.TestCase
    case.settings = settings(max_examples=40, stateful_step_count=25)
    return case


for one in KINDS:
    globals()[f"Test{one.codec.capitalize()}{one.metric.capitalize()}"] = life_of(one)
