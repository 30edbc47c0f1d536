# silent: the rows are divided by sqrt of the embedding size for another reason, the adapter's alpha / rank enters in both paths once
"""Low-rank update of an embedding table that is scaled by sqrt(dim) at look-up."""
import torch
from torch import nn


class ScaledTable(nn.Module):
    """Table as in the original transformer: rows are multiplied by sqrt(dim)."""

    def __init__(self, vocab, dim):
        super().__init__()
        self.table = nn.Embedding(vocab, dim)
        self.multiplier = dim ** 0.5

    def forward(self, ids):
        return self.table(ids) * self.multiplier


class VocabDelta(nn.Module):
    def __init__(self, host: ScaledTable, rank: int, alpha: float):
        super().__init__()
        self.host = host.requires_grad_(False)
        self.codes = nn.Embedding(host.table.num_embeddings, rank)
        self.basis = nn.Linear(rank, host.table.embedding_dim, bias=False)
        nn.init.zeros_(self.basis.weight)
        self.gain = alpha / rank

    def forward(self, ids):
        delta = self.basis(self.codes(ids)) * self.gain
        return self.host(ids) + delta * self.host.multiplier

    @torch.no_grad()
    def absorb(self) -> ScaledTable:
        dense = self.codes.weight @ self.basis.weight.T
        self.host.table.weight.add_(dense, alpha=self.gain)
        return self.host


def wrap_embedding(model, rank=8, alpha=16.0):
    for name, child in model.named_children():
        if isinstance(child, ScaledTable):
            setattr(model, name, VocabDelta(child, rank, alpha))
    return model
