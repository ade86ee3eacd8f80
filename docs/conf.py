"""Sphinx configuration: `pip install "transformers_jax[docs]"`, then `sphinx-build docs site`."""

import transformers_jax

project = "transformers_jax"
author = "The transformers_jax authors"
copyright = "The transformers_jax authors, Apache-2.0"
release = version = transformers_jax.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
nb_execution_mode = "off"  # the blocks are run by tests/docs
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "site"]
html_theme = "furo"
html_title = f"transformers_jax {release}"
