"""The same adapter in another convention, with its scale made explicit or folded into B."""
