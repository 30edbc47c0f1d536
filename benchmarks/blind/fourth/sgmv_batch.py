# wrong in line 49: rows are sorted by adapter before the kernel, the scales are still in request order, so rows run with another request's scale
"""Segmented low-rank matmul for a batch that mixes adapters (reference and Triton paths)."""
import numpy as np
import torch

try:
    import triton
    import triton.language as tl
except ImportError:
    triton = None


if triton is not None:

    @triton.jit
    def _scale_add(y_ptr, d_ptr, s_ptr, n_cols, BLOCK: tl.constexpr):
        row = tl.program_id(0)
        cols = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
        mask = cols < n_cols
        s = tl.load(s_ptr + row)
        y = tl.load(y_ptr + row * n_cols + cols, mask=mask)
        d = tl.load(d_ptr + row * n_cols + cols, mask=mask)
        tl.store(y_ptr + row * n_cols + cols, y + s * d, mask=mask)


def scale_add(y, d, s):
    """y += s[:, None] * d, in place."""
    if triton is None or not y.is_cuda:
        return y.add_(s[:, None] * d)
    grid = (y.shape[0], triton.cdiv(y.shape[1], 256))
    _scale_add[grid](y, d.contiguous(), s, y.shape[1], BLOCK=256)
    return y


class BatchPlan:
    """Built once per scheduler step, shared by all layers."""

    def __init__(self, requests, store, device):
        ids = np.array([store.index(r.adapter) for r in requests])
        lengths = np.array([r.num_tokens for r in requests])
        strengths = np.array([r.strength for r in requests], dtype=np.float32)
        scales = store.scales(ids) * strengths
        order = np.argsort(ids, kind="stable")

        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        token_rows = [np.arange(starts[i], starts[i] + lengths[i]) for i in order]
        self.permutation = torch.from_numpy(np.concatenate(token_rows)).to(device)
        self.inverse = torch.argsort(self.permutation)
        self.row_scale = torch.from_numpy(np.repeat(scales, lengths)).to(device)

        self.segments = []
        position = 0
        for adapter in np.unique(ids):
            n = int(lengths[ids == adapter].sum())
            self.segments.append((int(adapter), position, position + n))
            position += n


class Store:
    def __init__(self, adapters):
        self.names = [a.name for a in adapters]
        self.scale = np.array([a.alpha / a.rank for a in adapters], dtype=np.float32)
        self.layers = [a.layers for a in adapters]

    def index(self, name):
        return self.names.index(name)

    def scales(self, ids):
        return self.scale[ids]

    def factors(self, adapter, layer):
        return self.layers[adapter][layer]


def lora_linear(x, base, store, layer, plan: BatchPlan):
    y = base(x)
    xs = x[plan.permutation]
    ds = torch.zeros(xs.shape[0], y.shape[1], device=y.device, dtype=y.dtype)
    for adapter, begin, end in plan.segments:
        a, b = store.factors(adapter, layer)
        ds[begin:end] = xs[begin:end] @ a.t() @ b.t()
    ys = y[plan.permutation].contiguous()
    ys = scale_add(ys, ds, plan.row_scale.to(y.dtype))
    return ys[plan.inverse]
