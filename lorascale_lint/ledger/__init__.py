"""What happened in a project's LoRA code, in the field's own words, for rules and `map` to read."""
