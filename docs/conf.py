"""How Sphinx builds the documentation: ``sphinx-build -W --keep-going docs docs/_build``."""

from __future__ import annotations

import re
from importlib.util import find_spec

import matplotlib as mpl
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

import bayes_sklearn

mpl.use("agg")

project = "bayes_sklearn"
author = "the authors of bayes_sklearn"
version = release = bayes_sklearn.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "examples"]
default_role = "literal"  # docstrings put arguments in single backticks

html_theme = "furo"
html_title = f"bayes_sklearn {release}"
html_show_copyright = False

myst_enable_extensions = ["amsmath", "dollarmath"]
myst_heading_anchors = 3

autodoc_typehints = "none"  # docstrings say types, with shapes and defaults
autodoc_member_order = "bysource"
numpydoc_show_class_members = False

nitpicky = True
# Other projects' names are no links: looking them up would need the network.
nitpick_ignore_regex = [(r"py:.*", r"(sklearn|numpy|scipy|pandas|pymc|arviz)\..*")]

# statsmodels has the data of star98: without it that example is shown, but not run.
_examples = r"(plot_\w+|star98)" if find_spec("statsmodels") else r"plot_\w+"
sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "gallery",
    "filename_pattern": rf"/{_examples}\.py$",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "capture_repr": ("_repr_html_",),
    "download_all_examples": False,
    "show_signature": False,
    "show_memory": False,
    "min_reported_time": 1e9,
    "write_computation_times": False,
}


class TaggedEquations(SphinxTransform):
    r"""Hand an equation with a \tag to MathJax as one environment.

    Sphinx would wrap what has line breaks into ``split``, in which a tag is an error.
    """

    default_priority = 500

    def apply(self, **kwargs: object) -> None:
        """Wrap every tagged equation of the page."""
        for node in self.document.findall(nodes.math_block):
            text = node.astext()
            if re.search(r"\\tag\{", text) and not text.lstrip().startswith(r"\begin{equation"):
                node.children = [nodes.Text(f"\\begin{{equation}}\n{text.strip()}\n\\end{{equation}}")]
                node["no-wrap"] = node["nowrap"] = True


def link_to_gallery(app: Sphinx, docname: str, source: list[str]) -> None:
    """Links to examples' scripts, as they are in the repository, lead to their pages."""
    source[0] = re.sub(r"\]\(((?:\.\./)*)examples/(\w+)\.py\)", r"](\1gallery/\2.rst)", source[0])


def setup(app: Sphinx) -> dict[str, bool]:
    """Register what this file defines."""
    app.add_transform(TaggedEquations)
    app.connect("source-read", link_to_gallery)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
