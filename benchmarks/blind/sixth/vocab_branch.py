# wrong in line 27: the embedding branch adds its delta without self.scale, the linear branch has it
import torch
import torch.nn as nn
import torch.nn.functional as F


class _Base(nn.Module):
    def __init__(self, host, rank, alpha):
        super().__init__()
        self.host = host
        host.weight.requires_grad_(False)
        self.rank = rank
        self.scale = alpha / rank
        n_row, n_col = host.weight.shape
        self.right = nn.Parameter(torch.randn(rank, n_col) * rank ** -0.5)
        self.left = nn.Parameter(torch.zeros(n_row, rank))


class LinearBranch(_Base):
    def forward(self, x):
        return self.host(x) + F.linear(F.linear(x, self.right), self.left) * self.scale


class EmbeddingBranch(_Base):
    def forward(self, ids):
        rows = F.embedding(ids, self.left, self.host.padding_idx)
        return self.host(ids) + rows @ self.right


KINDS = {nn.Linear: LinearBranch, nn.Embedding: EmbeddingBranch}


def adapt(model, rank=8, alpha=16, skip=("lm_head",)):
    for parent in list(model.modules()):
        if isinstance(parent, _Base):
            continue
        for leaf, child in list(parent.named_children()):
            kind = KINDS.get(type(child))
            if kind is not None and leaf not in skip:
                setattr(parent, leaf, kind(child, rank, alpha))
    return model


@torch.no_grad()
def bake(model):
    """write W + scale * left @ right back and drop the branches"""
    for parent in list(model.modules()):
        if isinstance(parent, _Base):
            continue
        for leaf, child in list(parent.named_children()):
            if isinstance(child, _Base):
                child.host.weight += child.scale * (child.left @ child.right)
                setattr(parent, leaf, child.host)
    return model


class TinyLM(nn.Module):
    def __init__(self, vocab=50, dim=16):
        super().__init__()
        self.tok = nn.Embedding(vocab, dim)
        self.mix = nn.Linear(dim, dim)
        self.lm_head = nn.Linear(dim, vocab)

    def forward(self, ids):
        return self.lm_head(torch.tanh(self.mix(self.tok(ids))))
