"""Adapter files: what they hold, at which scale they were trained, and what loaders make of them."""
