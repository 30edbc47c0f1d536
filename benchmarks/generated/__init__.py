"""Small LoRA programs composed at random, run for their true scale, and put before ``lorascale-lint map``."""
