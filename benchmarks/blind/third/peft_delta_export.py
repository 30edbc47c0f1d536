# silent: get_delta_weight of PEFT already contains the scaling
import click
import torch
from peft import PeftModel
from peft.tuners.lora import Linear as LoraLinear
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM


def delta_weights(model, adapter):
    for name, module in model.named_modules():
        if not isinstance(module, LoraLinear):
            continue
        if adapter not in module.lora_A:
            continue
        yield name.removeprefix("base_model.model."), module.get_delta_weight(adapter)


@click.command()
@click.option("--base", required=True)
@click.option("--adapter", "adapter_path", required=True)
@click.option("--dtype", default="float16")
@click.argument("out")
def export(base, adapter_path, dtype, out):
    model = AutoModelForCausalLM.from_pretrained(base, torch_dtype=torch.float32)
    model = PeftModel.from_pretrained(model, adapter_path, adapter_name="default")
    if model.peft_config["default"].use_dora:
        raise click.ClickException("a DoRA adapter has no additive delta")
    dtype = getattr(torch, dtype)
    with torch.no_grad():
        tensors = {f"{n}.weight_delta": d.to(dtype).contiguous().cpu()
                   for n, d in delta_weights(model, "default")}
    save_file(tensors, out)
    click.echo(f"{len(tensors)} deltas")


if __name__ == "__main__":
    export()
