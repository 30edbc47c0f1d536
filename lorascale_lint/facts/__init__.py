"""Facts of one file: what each function computes, as terms, without knowing other files."""
