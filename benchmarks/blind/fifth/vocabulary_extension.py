# wrong in line 42: the embedding subclass merges its product without the scale that its forward and the linear sibling apply
import torch
import torch.nn.functional as F
from torch import nn


class Extension(nn.Module):
    def __init__(self, base, dims, coef):
        super().__init__()
        n_in, n_out, k = dims
        self.base = base.requires_grad_(False)
        self.coef = coef
        self.P = nn.Parameter(torch.zeros(k, n_in))
        self.Q = nn.Parameter(torch.zeros(n_out, k))

    @torch.no_grad()
    def merge(self):
        self.base.weight += self.coef * (self.Q @ self.P)
        return self.base


class LinearExtension(Extension):
    def __init__(self, base: nn.Linear, k: int, alpha: float):
        super().__init__(base, (base.in_features, base.out_features, k), alpha / k)
        nn.init.normal_(self.P, std=base.in_features ** -0.5)

    def forward(self, x):
        return self.base(x) + self.coef * F.linear(F.linear(x, self.P), self.Q)


class EmbeddingExtension(Extension):
    def __init__(self, base: nn.Embedding, k: int, alpha: float):
        super().__init__(base, (base.num_embeddings, base.embedding_dim, k), alpha / k)
        nn.init.normal_(self.Q)

    def forward(self, ids):
        rows = F.embedding(ids, self.P.T, padding_idx=self.base.padding_idx)
        return self.base(ids) + self.coef * F.linear(rows, self.Q)

    @torch.no_grad()
    def merge(self):
        self.base.weight += (self.Q @ self.P).T
        return self.base


def extend(model, k=8, alpha=16.0, linear=("q_proj", "v_proj"), embedding=("embed_tokens",)):
    made = []
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear) and name in linear:
                made.append((parent, name, LinearExtension(child, k, alpha)))
            elif isinstance(child, nn.Embedding) and name in embedding:
                made.append((parent, name, EmbeddingExtension(child, k, alpha)))
    for parent, name, ext in made:
        setattr(parent, name, ext)
    return [ext for _, _, ext in made]


def collapse(model):
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Extension):
                setattr(parent, name, child.merge())
    return model
