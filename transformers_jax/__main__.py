"""`python -m transformers_jax` is the console script `transformers-jax`."""

from transformers_jax.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
