"""The console script `transformers-jax`, which is also `python -m transformers_jax`."""

from transformers_jax.printing import until_interrupted


def main() -> int:
    """Runs the command of the command line; returns the exit status."""

    def command() -> int:
        from transformers_jax.cli import main

        return main()

    return until_interrupted(command, "transformers-jax")


if __name__ == "__main__":
    raise SystemExit(main())
