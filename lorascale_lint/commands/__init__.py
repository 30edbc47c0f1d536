"""The commands: what can be typed, and nothing that takes time to import."""
