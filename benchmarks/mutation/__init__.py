"""Correct code broken on purpose, at places that the engine chooses."""
