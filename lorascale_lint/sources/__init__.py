"""What is linted: the files, their text, and the comments that silence a rule."""
