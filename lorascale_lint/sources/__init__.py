"""From paths to the source text that matters: discovery, prefilter, narrowing, module names."""
