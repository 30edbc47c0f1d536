# wrong in line 12: rank is configurable, alpha is left at 8
import click
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM


@click.command()
@click.option("--rank", default=64)
@click.option("--model")
def main(rank, model):
    base = AutoModelForCausalLM.from_pretrained(model)
    config = LoraConfig(r=rank, target_modules=["q_proj", "v_proj"], lora_dropout=0.05)
    m = get_peft_model(base, config)
    m.print_trainable_parameters()
