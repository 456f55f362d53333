"""Every compact codec with every metric does all that a flat index owes.

The reference is the codec alone: what it says of the codes of the rows that should be there.
"""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from reference import FLOAT_METRICS

import nearbit as nb

DIM = 20
CODECS = (
    *(nb.RaBitQ(1), nb.RaBitQ(3), nb.SQ(4), nb.SQ(8), nb.PCASQ(7), nb.ITQ(20), nb.Sign()),
    *(nb.PQ(5, 4), nb.PQ(7, 8), nb.PQ(5, 4, "opq")),
)


def rows_of(n, rng):
    return (rng.standard_normal((n, DIM)) * 0.9 ** np.arange(DIM) + 0.2).astype(np.float32)


@pytest.fixture(params=CODECS, ids=str)
def settings(request):
    return request.param


@pytest.fixture(params=FLOAT_METRICS)
def trained(request, settings, rng):
    return settings.train(rows_of(1100, rng), request.param)


class Expected:
    """What an index with these rows should answer: everything in order of (distance, id)."""

    def __init__(self, codec, rows_by_id, queries):
        self.codec, self.queries = codec, queries
        self.ids = np.array(sorted(rows_by_id))
        self.codes = codec.encode(np.array([rows_by_id[i] for i in self.ids]))
        self.distances = codec.distances(queries, self.codes)

    def nearest(self, q, k=None, among=None, radius=np.inf):
        """(ids, distances) as bytes."""
        may = self.distances[q] <= radius
        if among is not None:
            may &= np.isin(self.ids, among)
        ids, distances = self.ids[may], self.distances[q][may]
        order = np.lexsort((ids, distances))[:k]
        return ids[order].tobytes(), distances[order].tobytes()

    def check(self, index):
        """Fail unless the index holds these rows and answers so in every way there is to ask."""
        assert len(index) == len(self.ids)
        np.testing.assert_array_equal(index.ids, self.ids)
        np.testing.assert_array_equal(index.get(self.ids), self.codec.decode(self.codes))
        radius = float(np.median(self.distances[:, :50]))
        among = self.ids[::3]
        searches = (
            {"k": 10},
            {"k": len(self.ids)},
            {"k": 7, "among": among},
            {"k": 25, "radius": radius},
        )
        for asked in searches:
            options = {"filter" if o == "among" else o: v for o, v in asked.items()}
            hits = index.search(self.queries, **options)
            for q, count in enumerate(hits.counts):
                found = hits.ids[q, :count].tobytes(), hits.distances[q, :count].tobytes()
                assert found == self.nearest(q, **asked)
            one = index.search(self.queries[3], **options)
            assert one.ids.tobytes() == hits.ids[3].tobytes()
        inside = index.range_search(self.queries, radius)
        for q in range(len(self.queries)):
            own = slice(inside.indptr[q], inside.indptr[q + 1])
            found = inside.ids[own].tobytes(), inside.distances[own].tobytes()
            assert found == self.nearest(q, radius=radius)


def test_an_index_answers_through_every_change_and_copy(trained, rng, tmp_path):
    rows, queries = rows_of(1300, rng), rows_of(9, rng)
    ids = rng.permutation(5000)[:1300]
    expected = dict(zip(ids[:1000].tolist(), rows, strict=False))
    index = nb.Index(DIM, codec=trained)
    index.add(rows[:1000], ids=ids[:1000])
    Expected(trained, expected, queries).check(index)
    gone, renewed = ids[:300], ids[200:500]
    index.remove(gone)
    index.upsert(renewed, rows[1000:])
    for one in gone.tolist():
        del expected[one]
    expected.update(zip(renewed.tolist(), rows[1000:], strict=True))
    index.add(rows[:100], ids=ids[1000:1100])
    expected.update(zip(ids[1000:1100].tolist(), rows[:100], strict=True))
    now = Expected(trained, expected, queries)
    now.check(index)
    index.save(tmp_path / "index.nearbit")
    copies = (
        nb.Index.from_bytes(index.to_bytes()),
        pickle.loads(pickle.dumps(index)),
        nb.load(tmp_path / "index.nearbit"),
        nb.load(tmp_path / "index.nearbit", mmap=True),
    )
    for copy in copies:
        now.check(copy)
    index.compact()
    now.check(index)


def test_an_index_that_trains_itself_learns_what_the_codec_alone_does(settings, rng):
    rows = rows_of(1100, rng)
    index = nb.Index(DIM, metric="l2", codec=settings, seed=5)
    index.add(rows[:1000])
    index.add(rows[1000:])
    assert index.stats()["trained"] is True
    codec = settings.train(rows, "l2", seed=5)
    np.testing.assert_array_equal(index.get(np.arange(1100)), codec.decode(codec.encode(rows)))
