# wrong in line 37: fuse_lora wants a strength, the configured lora_alpha (16) is passed as lora_scale
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml
from diffusers import DiffusionPipeline


@dataclass
class ExportConfig:
    base: str
    lora: str
    output: str
    rank: int = 16
    lora_alpha: float = 16.0
    dtype: str = "bfloat16"
    quantize_text_encoder: bool = False

    @classmethod
    def load(cls, path):
        data = yaml.safe_load(Path(path).read_text())
        return cls(**data)


def export(cfg: ExportConfig):
    pipe = DiffusionPipeline.from_pretrained(cfg.base, torch_dtype=getattr(torch, cfg.dtype))
    folder, name = Path(cfg.lora).parent, Path(cfg.lora).name
    pipe.load_lora_weights(str(folder), weight_name=name, adapter_name="main")

    rank = next(
        m.r["main"] for m in pipe.transformer.modules() if hasattr(m, "lora_A") and "main" in m.lora_A
    )
    if rank != cfg.rank:
        raise ValueError(f"file has rank {rank}, configuration says {cfg.rank}")

    pipe.fuse_lora(components=["transformer"], lora_scale=cfg.lora_alpha)
    pipe.unload_lora_weights()
    if cfg.quantize_text_encoder:
        from optimum.quanto import freeze, qint8, quantize

        quantize(pipe.text_encoder, weights=qint8)
        freeze(pipe.text_encoder)
    pipe.save_pretrained(cfg.output, safe_serialization=True)
    return pipe


if __name__ == "__main__":
    import sys

    config = ExportConfig.load(sys.argv[1])
    export(config)
    print("saved to", config.output)
