"""What happened in a project's LoRA code, in the field's own words; rules, map, codemods and verify read nothing else."""
