"""Sphinx: `sphinx-build -W docs build/docs` (extra `docs`)."""

from sac_fast.io.version import package_version

project, author, copyright = "sac_fast", "The sac_fast authors", "The sac_fast authors, Apache-2.0"
release = version = package_version()
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
html_theme = "furo"
html_title = "sac_fast"
html_copy_source = False
exclude_patterns = ["examples"]
myst_heading_anchors = 3
# Links to files of the repository outside of docs/ (results, sources) stay as they are: there is no public address yet.
suppress_warnings = ["myst.xref_missing", "misc.highlighting_failure"]  # the second: the mermaid diagram
# Docstrings are written in Markdown's manner: `name` is code.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "none"
nitpicky = False
