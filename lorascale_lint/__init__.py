"""Find, repair and prove LoRA scaling bugs in Python code."""

__version__ = "0.1.0"
