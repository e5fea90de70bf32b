"""What README and documentation show is what happens."""

from __future__ import annotations

import csv
import doctest
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from bayes_sklearn.datasets import make_role_modeling

from reference_model import _quietly as quietly

ROOT = Path(__file__).parents[2]
GENERATED = ("_build", "gallery")
DOCS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "docs").rglob("*.md")
    if path.relative_to(ROOT / "docs").parts[0] not in GENERATED
)
PAGES = ["README.md", "CHANGELOG.md", *DOCS]
# Pages of one question each: they begin with code that answers it.
GUIDES = [
    page
    for page in DOCS
    if re.match(r"docs/(tutorials|howto|explanation|coming_from)/", page) and not page.endswith("/index.md")
]
# In every run of the tests; the other pages take half a minute together.
QUICK = {
    "README.md",
    "docs/contributing.md",
    "docs/index.md",
    "docs/explanation/pitfalls.md",
    "docs/howto/errors_of_y/errors_from_the_value.md",
    "docs/howto/models/meta_analysis.md",
}


def blocks(page: str, language: str) -> list[str]:
    """The code blocks of a page."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def examples(page: str) -> str:
    """The examples of a page."""
    return "\n".join(block for block in blocks(page, "python") if block.startswith(">>> "))


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=() if page in QUICK else pytest.mark.thorough)
        for page in PAGES
        if examples(page)
    ],
)
def test_examples_give_the_output_shown(page: str) -> None:
    """Each page by itself: a reader starts anywhere."""
    test = doctest.DocTestParser().get_doctest(examples(page), {}, page, page, 0)
    assert len(test.examples) > 2
    report: list[str] = []
    failed, _ = doctest.DocTestRunner().run(test, out=report.append)
    assert failed == 0, "".join(report)


@pytest.mark.parametrize("page", GUIDES)
def test_pages_begin_with_code_and_end_with_what_can_go_wrong(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    introduction, _, rest = text.partition("```python\n>>> ")
    assert rest
    assert "\n## " not in introduction
    assert len(introduction.splitlines()) <= 14
    last = [title for title in re.findall(r"^## (.*)$", text, re.MULTILINE) if title != "References"][-1]
    assert last == "What can go wrong"


def test_readme_has_one_command_for_the_demo_and_one_for_the_tests() -> None:
    commands = blocks("README.md", "sh")
    assert [len(command.splitlines()) for command in commands] == [1, 1]
    demo, tests = commands
    assert demo.rstrip().endswith("-m bayes_sklearn")
    assert "-m pytest" in tests
    marked = f"<!-- test command -->\n```sh\n{tests}```\n"
    assert (ROOT / "README.md").read_text(encoding="utf-8").count(marked) == 1


def test_the_commands_of_contributing_are_those_of_readme_and_of_the_whole_check() -> None:
    quick = blocks("README.md", "sh")[1].strip().split(" && ")[-1]
    thorough = quick.replace('"not thorough"', "thorough")
    assert quick != thorough
    shown = [line for block in blocks("docs/contributing.md", "sh") for line in block.splitlines()]
    assert shown.count(quick) == shown.count(thorough) == 1
    of_check = f'{thorough} --part "$part"'
    assert (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines().count(of_check) == 1


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        # Pictures of the gallery are drawn when the documentation is built, each by its script.
        path = re.sub(r"gallery/images/sphx_glr_(\w+)_\d+\.png", r"examples/\1.py", path)
        linked = (ROOT / page).parent / path if path else ROOT / page
        assert linked.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.*)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_no_cell_of_a_table_is_a_bullet() -> None:
    """A hyphen by itself, or before a space, begins a list where tables are written as CSV."""
    tables = sorted((ROOT / "docs").rglob("*.csv"))
    assert tables
    for table in tables:
        with table.open(encoding="utf-8", newline="") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        assert not [cell for cell in cells if re.match(r"[-*+](\s|$)", cell)], table.name


def test_every_equation_has_a_number_of_its_own() -> None:
    numbers = re.findall(r"\\tag\{(\w+)\}", (ROOT / "docs/maths.md").read_text(encoding="utf-8"))
    assert len(numbers) > 30
    assert len(set(numbers)) == len(numbers)


def test_the_reference_model_has_the_density_it_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    (listing,) = (
        block
        for block in blocks("docs/explanation/reference_model.md", "python")
        if "import pymc as pm" in block
    )
    phones = make_role_modeling(messages=(100, 1000), random_state=0, as_frame=False)
    X, y, counts = phones.data, phones.target, phones.counts
    with quietly():
        import pymc as pm

        asked: dict[str, Any] = {}
        monkeypatch.setattr(pm, "sample", lambda draws, **settings: asked.update(draws=draws, **settings))
        names: dict[str, Any] = {"np": np, "X": X, "y": y, "counts": counts}
        exec(listing, names)
        model = names["reference"]
        density = model.compile_fn(
            model.logp(jacobian=False), inputs=model.value_vars, mode="FAST_COMPILE", point_fn=False
        )
    assert asked == {"draws": 4000, "tune": 1000, "chains": 4}
    y_err = np.sqrt(y * (1.0 - y) / counts) + 0.1
    for m, b, s in (([0.1, -0.2, 0.3, 0.05], 0.2, 0.7), ([0.4, 0.0, 0.0, 0.1], 0.04, 0.2)):
        expected = (
            stats.norm.logpdf(m).sum()
            + stats.norm.logpdf(b)
            + stats.halfnorm.logpdf(s)
            + stats.norm.logpdf(y, X @ np.array(m) + b, s * y_err).sum()
        )
        assert_allclose(density(np.array(m), np.array(b), np.log(s)), expected, rtol=1e-9)


IN_HOUSE = re.compile(
    r"\b(one|number|value|column|curve|label) an?\s(row|feature|cell|group|parameter|draw|node)\b"  # per row
    r"|(?<!up) to rounding\b|\bleaves? open\b|\bleft open\b"
)


def test_pages_docstrings_and_messages_are_in_the_fields_words() -> None:
    sources = [path.relative_to(ROOT).as_posix() for path in (ROOT / "bayes_sklearn").rglob("*.py")]
    assert {
        f"{name}: {found[0]}"
        for name in (*PAGES, *sources)
        for found in IN_HOUSE.finditer((ROOT / name).read_text(encoding="utf-8"))
    } == set()
