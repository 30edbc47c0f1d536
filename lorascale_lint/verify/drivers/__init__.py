"""Drivers: one per LoRA implementation that `verify` can run. `registry` lists them."""
