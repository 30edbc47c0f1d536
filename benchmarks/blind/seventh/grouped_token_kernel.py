# wrong in line 32: rows were sorted by adapter, but the per-row gains are still in request order
"""Segmented low-rank matmul: rows are sorted by adapter and processed in runs."""
import numpy as np


def segments(ids):
    """[(adapter, start, stop)] of a sorted id vector."""
    cuts = np.flatnonzero(np.diff(ids)) + 1
    starts = np.concatenate([[0], cuts])
    stops = np.concatenate([cuts, [len(ids)]])
    return [(int(ids[s]), int(s), int(e)) for s, e in zip(starts, stops)]


class SegmentedMatmul:
    def __init__(self):
        self.down, self.up, self.gain = {}, {}, {}

    def add(self, uid, down, up, alpha):
        """down (in, r), up (r, out)"""
        self.down[uid] = down
        self.up[uid] = up
        self.gain[uid] = alpha / down.shape[1]

    def __call__(self, x, ids):
        ids = np.asarray(ids)
        row_gain = np.array([self.gain[i] for i in ids])
        order = np.argsort(ids, kind="stable")
        xs, sorted_ids = x[order], ids[order]
        out = np.empty((len(x), next(iter(self.up.values())).shape[1]), x.dtype)
        for uid, start, stop in segments(sorted_ids):
            out[start:stop] = xs[start:stop] @ self.down[uid] @ self.up[uid]
        out *= row_gain[:, None]
        result = np.empty_like(out)
        result[order] = out
        return result


def decode_step(hidden, weight, kernel, ids):
    return hidden @ weight + kernel(hidden, ids)
