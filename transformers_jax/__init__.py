"""transformers_jax."""
