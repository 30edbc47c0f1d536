# wrong in line 35: PEFT already applies alpha / r of the config, set_adapters gets the same ratio a second time
import argparse

import torch
from diffusers import FluxPipeline
from peft import LoraConfig
from safetensors.torch import load_file


def options():
    ap = argparse.ArgumentParser()
    ap.add_argument("--weights", required=True)
    ap.add_argument("--run", required=True, help="folder with the adapter_config.json of the training run")
    ap.add_argument("--prompt", default="a lighthouse at dusk")
    ap.add_argument("--seed", type=int, default=0)
    return ap.parse_args()


def attach(pipe, weights, run):
    config = LoraConfig.from_pretrained(run)
    if config.use_rslora or config.rank_pattern or config.alpha_pattern:
        raise ValueError("unexpected adapter config")
    pipe.transformer.add_adapter(config, adapter_name="style")
    state = load_file(weights)
    renamed = {k.replace(".lora_A.", ".lora_A.style.").replace(".lora_B.", ".lora_B.style."): v for k, v in state.items()}
    result = pipe.transformer.load_state_dict(renamed, strict=False)
    assert not result.unexpected_keys, result.unexpected_keys[:3]
    return config


def main():
    opt = options()
    pipe = FluxPipeline.from_pretrained("black-forest-labs/FLUX.1-dev", torch_dtype=torch.bfloat16).to("cuda")
    config = attach(pipe, opt.weights, opt.run)
    pipe.transformer.set_adapters(["style"], [config.lora_alpha / config.r])
    gen = torch.Generator("cpu").manual_seed(opt.seed)
    pipe(opt.prompt, num_inference_steps=28, generator=gen).images[0].save("out.png")


if __name__ == "__main__":
    main()
