"""What every tensor and number that LoRA code touches is, where it came from, and what was multiplied onto it."""
