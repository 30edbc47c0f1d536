"""`python -m lorascale_lint`, and the `lorascale-lint` command."""

from lorascale_lint.isolation import isolate


def main() -> None:
    """Run the command line, importing nothing from where the linted project may be."""
    isolate()
    from lorascale_lint import cli

    cli.main()


if __name__ == "__main__":
    main()
