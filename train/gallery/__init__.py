"""Pictures of what tiny models of each family attend to: `python -m train.gallery`."""
