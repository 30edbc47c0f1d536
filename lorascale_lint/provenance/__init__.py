"""What each tensor and number of LoRA code is, where it came from, and what was multiplied onto it."""
