"""Starting with lorascale-lint in a project that has findings: comments, baselines, revisions."""
