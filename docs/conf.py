"""Sphinx: `sphinx-build -W docs build/docs` (extra `docs`)."""

from sac_fast.io.version import package_version

project, author, copyright = "sac_fast", "The sac_fast authors", "The sac_fast authors, Apache-2.0"
release = version = package_version()
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
html_theme = "furo"
html_title = "sac_fast"
html_copy_source = False
exclude_patterns = ["examples"]
nb_execution_mode = "off"  # the outputs are those that are committed; tests/test_notebooks.py runs them
myst_heading_anchors = 3
# Links to files of the repository outside of docs/ (results, sources) stay as they are: there is no public address yet.
suppress_warnings = ["myst.xref_missing", "misc.highlighting_failure"]  # the second: the mermaid diagram
# Docstrings are written in Markdown's manner: `name` is code.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "none"
nitpicky = False


def _escape_bars(app, what, name, obj, options, lines):
    """|x| is a norm in docstrings, not a substitution of reStructuredText."""
    for number, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...")):
            parts = line.split("``")
            lines[number] = "``".join(part if i % 2 else part.replace("|", r"\|") for i, part in enumerate(parts))


def setup(app):
    app.connect("autodoc-process-docstring", _escape_bars, priority=900)
