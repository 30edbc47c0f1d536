"""What is known of LoRA code, adapter files and loaders: tables, one entry one line, each with its source.

Nothing here imports anything heavy, so that the linter and the commands about files share it.
"""
