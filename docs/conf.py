"""How Sphinx builds the documentation: ``sphinx-build -W --keep-going docs docs/_build``."""

from __future__ import annotations

import re
from importlib.util import find_spec
from urllib.request import urlopen

import matplotlib as mpl
from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

import bayes_sklearn

mpl.use("agg")

project = "bayes_sklearn"
author = "the authors of bayes_sklearn"
version = release = bayes_sklearn.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "examples"]
default_role = "literal"  # docstrings put arguments in single backticks

html_math_renderer = "mathml"
html_theme = "furo"
html_title = f"bayes_sklearn {release}"
html_show_copyright = False

myst_enable_extensions = ["amsmath", "dollarmath"]
myst_heading_anchors = 3

autodoc_typehints = "none"  # docstrings say types, with shapes and defaults
autodoc_member_order = "bysource"
numpydoc_show_class_members = False


def inventories() -> dict[str, tuple[str, None]]:
    """Other projects' reference pages, where they can be reached: without a network their names are no links."""
    found: dict[str, tuple[str, None]] = {}
    for name, address in (
        ("python", "https://docs.python.org/3/"),
        ("numpy", "https://numpy.org/doc/stable/"),
        ("scipy", "https://docs.scipy.org/doc/scipy/"),
        ("pandas", "https://pandas.pydata.org/docs/"),
        ("sklearn", "https://scikit-learn.org/stable/"),
    ):
        try:
            urlopen(address + "objects.inv", timeout=3).close()
        except OSError:
            continue
        found[name] = (address, None)
    return found


intersphinx_mapping = inventories()

nitpicky = True
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


def mathml(text: str, display: str) -> str:
    """LaTeX as MathML, which browsers draw by themselves, without a network."""
    if r"\\" in text and r"\begin{" not in text:
        text = rf"\begin{{aligned}}{text}\end{{aligned}}"
    return convert(text, display=display)


def inline_equation(translator: HTML5Translator, node: nodes.math) -> None:
    """Write an equation in a line."""
    translator.body.append(mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def block_equation(translator: HTML5Translator, node: nodes.math_block) -> None:
    """Write an equation that stands by itself, the number of its tag beside it."""
    tag = re.search(r"\\tag\{(\w+)\}", node.astext())
    number = f'<span class="eqno">({tag[1]})</span>' if tag else ""
    text = re.sub(r"\\tag\{\w+\}", "", node.astext())
    translator.body.append(
        f'<div class="math" style="overflow-x: auto">{number}{mathml(text, "block")}</div>'
    )
    raise nodes.SkipNode


def link_to_gallery(app: Sphinx, docname: str, source: list[str]) -> None:
    """Links to examples' scripts, as they are in the repository, lead to their pages."""
    source[0] = re.sub(r"\]\(((?:\.\./)*)examples/(\w+)\.py\)", r"](\1gallery/\2.rst)", source[0])


def setup(app: Sphinx) -> dict[str, bool]:
    """Register what this file defines."""
    app.add_html_math_renderer("mathml", (inline_equation, None), (block_equation, None))
    app.connect("source-read", link_to_gallery)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
