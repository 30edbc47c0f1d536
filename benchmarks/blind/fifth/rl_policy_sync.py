# silent: the trainer side turns rsLoRA into an equivalent plain alpha before the engine divides by r
"""Push trainer adapters to the rollout workers between PPO iterations."""
import math
from typing import Dict, Iterable, Tuple

import ray
import torch


@ray.remote(num_gpus=1)
class RolloutWorker:
    def __init__(self, engine_factory):
        self.engine = engine_factory()
        self.version = -1

    def receive(self, version: int, payload: Dict):
        rank, alpha = payload["rank"], payload["alpha"]
        gain = alpha / rank
        for name, (a, b) in payload["factors"].items():
            self.engine.set_branch(name, a.cuda(), (gain * b).cuda())
        self.version = version
        return version


def flat_alpha(cfg) -> float:
    """Workers only know alpha / rank."""
    if cfg.use_dora:
        raise ValueError("the rollout workers have no magnitude")
    if cfg.rank_pattern or cfg.alpha_pattern:
        raise ValueError("per-module patterns cannot be sent to the rollout workers")
    if cfg.use_rslora:
        return cfg.lora_alpha * math.sqrt(cfg.r)
    return float(cfg.lora_alpha)


def iter_factors(model, adapter="default") -> Iterable[Tuple[str, torch.Tensor, torch.Tensor]]:
    for name, mod in model.named_modules():
        table = getattr(mod, "lora_A", None)
        if table is None or adapter not in table:
            continue
        a = mod.lora_A[adapter].weight.detach()
        b = mod.lora_B[adapter].weight.detach()
        yield name, a.to("cpu", torch.bfloat16), b.to("cpu", torch.bfloat16)


class Publisher:
    def __init__(self, workers, adapter="default"):
        self.workers = workers
        self.adapter = adapter
        self.version = 0

    def publish(self, peft_model):
        cfg = peft_model.peft_config[self.adapter]
        payload = {
            "rank": cfg.r,
            "alpha": flat_alpha(cfg),
            "factors": {n: (a, b) for n, a, b in iter_factors(peft_model, self.adapter)},
        }
        ref = ray.put(payload)
        self.version += 1
        done = ray.get([w.receive.remote(self.version, ref) for w in self.workers])
        assert all(v == self.version for v in done)
        return self.version
