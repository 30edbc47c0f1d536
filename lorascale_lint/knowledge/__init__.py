"""What is known of adapter files and loaders: tables without behaviour, each entry with its source.

Nothing here imports anything heavy, so that the linter and the commands about files share it.
"""
