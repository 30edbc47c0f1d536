# wrong in line 37: clients train with alpha / rank but upload alpha itself under "scale", which the aggregator uses as a direct multiplier
import io
from dataclasses import dataclass

import flwr as fl
import numpy as np
import torch
from torch import nn


@dataclass
class Plan:
    rank: int = 8
    alpha: float = 16.0
    lr: float = 1e-3
    local_steps: int = 50


class Tail(nn.Module):
    def __init__(self, lin: nn.Linear, plan: Plan):
        super().__init__()
        self.lin = lin.requires_grad_(False)
        self.g = nn.Parameter(torch.randn(plan.rank, lin.in_features) * 0.02)
        self.h = nn.Parameter(torch.zeros(lin.out_features, plan.rank))
        self.plan = plan

    def forward(self, x):
        return self.lin(x) + (self.plan.alpha / self.plan.rank) * (x @ self.g.T @ self.h.T)


def encode(tail: Tail) -> bytes:
    buf = io.BytesIO()
    np.savez(
        buf,
        g=tail.g.detach().cpu().numpy(),
        h=tail.h.detach().cpu().numpy(),
        scale=np.float32(tail.plan.alpha),
    )
    return buf.getvalue()


def decode(blob: bytes) -> np.ndarray:
    pack = np.load(io.BytesIO(blob))
    return float(pack["scale"]) * (pack["h"] @ pack["g"])


class Client(fl.client.NumPyClient):
    def __init__(self, lin, data, plan):
        self.tail, self.data, self.plan = Tail(lin, plan), data, plan

    def fit(self, parameters, config):
        with torch.no_grad():
            self.tail.lin.weight.copy_(torch.from_numpy(parameters[0]))
        opt = torch.optim.SGD([self.tail.g, self.tail.h], lr=self.plan.lr)
        for _, (x, y) in zip(range(self.plan.local_steps), self.data):
            loss = nn.functional.mse_loss(self.tail(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
        payload = np.frombuffer(encode(self.tail), dtype=np.uint8)
        return [payload], len(self.data), {}


class DeltaAverage(fl.server.strategy.FedAvg):
    def __init__(self, weight, **kwargs):
        super().__init__(**kwargs)
        self.weight = weight

    def aggregate_fit(self, server_round, results, failures):
        total = sum(res.num_examples for _, res in results)
        for _, res in results:
            blob = fl.common.parameters_to_ndarrays(res.parameters)[0].tobytes()
            self.weight = self.weight + res.num_examples / total * decode(blob)
        return fl.common.ndarrays_to_parameters([self.weight]), {}
