"""The files of a project joined: names to definitions, classes to their families."""
