"""The repairs, one LibCST transformer per kind."""
