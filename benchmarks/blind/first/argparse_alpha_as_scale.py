# wrong in line 13: alpha given as the lora scale of diffusers
import argparse
from diffusers import StableDiffusionXLPipeline

parser = argparse.ArgumentParser()
parser.add_argument("--lora", required=True)
parser.add_argument("--lora_alpha", type=float, default=16)
parser.add_argument("--prompt")
args = parser.parse_args()

pipe = StableDiffusionXLPipeline.from_pretrained("stabilityai/sdxl")
pipe.load_lora_weights(args.lora)
pipe.fuse_lora(lora_scale=args.lora_alpha)
pipe(args.prompt).images[0].save("out.png")
