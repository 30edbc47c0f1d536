"""Programs that were written from a mechanism alone, each with what mends it."""
