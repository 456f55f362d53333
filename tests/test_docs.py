"""Every public name explains itself: numpydoc parts that apply, and examples that run.

And what the pages link to is there.
"""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest

import nearbit as nb


def public():
    """(name, object, is a function) of everything public, inside classes and modules too."""
    for name in nb.__all__:
        thing = getattr(nb, name)
        if inspect.ismodule(thing):
            yield name, thing, False
            for inner in thing.__all__:
                yield f"{name}.{inner}", getattr(thing, inner), True
        elif inspect.isclass(thing):
            yield name, thing, False
            if issubclass(thing, Exception):
                continue
            for inner in dir(thing):
                member = inspect.getattr_static(thing, inner)
                member = getattr(member, "__func__", member)
                if not inner.startswith("_") and (callable(member) or isinstance(member, property)):
                    yield f"{name}.{inner}", member, callable(member)
        elif callable(thing):
            yield name, thing, True


PUBLIC = list(public())
FUNCTIONS = [(name, thing) for name, thing, function in PUBLIC if function]


def modules():
    """nearbit and every module in it that can be imported without running."""
    yield nb
    for found in pkgutil.walk_packages(nb.__path__, "nearbit."):
        if found.name != "nearbit.__main__":
            yield importlib.import_module(found.name)


def parameters(thing):
    names = inspect.signature(thing).parameters
    return [name for name in names if name not in ("self", "cls") and not name.startswith("_")]


@pytest.mark.parametrize(("name", "thing", "_"), PUBLIC, ids=[name for name, *_ in PUBLIC])
def test_every_public_name_has_a_first_line_of_its_own(name, thing, _):
    text = inspect.getdoc(thing)
    assert text, f"{name} has no docstring"
    first = text.splitlines()[0]
    assert first.endswith("."), first
    assert len(first) <= 100
    assert not first.startswith(f"{name.split('.')[-1]}("), "a signature is not an explanation"


@pytest.mark.parametrize(("name", "thing"), FUNCTIONS, ids=[name for name, _ in FUNCTIONS])
def test_every_function_documents_each_parameter_and_what_comes_back(name, thing):
    text = inspect.getdoc(thing)
    names = parameters(thing)
    if names:
        section = re.search(r"Parameters\n-{10}\n(.*?)(\n\n[A-Z][a-z ]+\n---|\Z)", text, re.DOTALL)
        assert section, f"{name}: no section Parameters"
        documented = re.findall(r"^(\w+(?:, \w+)*) :", section[1], re.MULTILINE)
        assert [one for line in documented for one in line.split(", ")] == names
    if inspect.signature(thing).return_annotation not in (None, "None"):
        assert re.search(r"^(Returns|Yields)\n-+\n\S", text, re.MULTILINE), f"{name}: no Returns"


@pytest.mark.parametrize("answer", [nb.Hits, nb.RangeHits])
def test_answers_document_what_they_hold(answer):
    text = inspect.getdoc(answer)
    held = [name for name in answer.__slots__ if not name.startswith("_")]
    assert held
    for name in held:
        assert re.search(rf"^{name} : ", text, re.MULTILINE), name


def test_the_class_documents_its_settings():
    section = inspect.getdoc(nb.Index).partition("Parameters\n----------\n")[2]
    for name in parameters(nb.Index):
        assert re.search(rf"^{name} :", section, re.MULTILINE), name


@pytest.mark.parametrize("module", list(modules()), ids=lambda module: module.__name__)
def test_the_examples_in_docstrings_run(module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"nb": nb, "np": np, "numpy": np}
    result = doctest.testmod(
        module, extraglobs=names, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    )
    assert result.failed == 0


def test_the_main_calls_have_examples():
    finder = doctest.DocTestFinder()
    with_examples = {
        test.name.rpartition("nearbit.")[2]
        for module in modules()
        for test in finder.find(module, module.__name__)
        if test.examples
    }
    for name in ("Index.add", "Index.search", "Index.range_search", "Index.filter", "knn"):
        assert any(found.endswith(name) for found in with_examples), name


ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "bench" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Left out of the sdist, or put away where the tests run beside an installed package.
MAY_BE_AWAY = {".ci", ".github", "cpp", "python", "CMakeLists.txt"}


def links(page):
    """Where a page's relative links point to, code left out and anchors cut off."""
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"`[^`]*`", "", text)
    inline = re.findall(r"\]\(\s*<?([^)\s>]+)", text)
    defined = re.findall(r"^\[[^\]]+\]:\s*<?([^\s>]+)", text, re.MULTILINE)
    for link in inline + defined:
        path = unquote(link.partition("#")[0])
        if path and not re.match(r"[a-z][a-z0-9+.-]*:", path):
            yield path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_relative_link_points_at_a_file_here(page):
    for link in links(page):
        target = (page.parent / link).resolve()
        assert target.is_relative_to(ROOT), link
        top = target.relative_to(ROOT).parts[:1]
        away = top and top[0] in MAY_BE_AWAY and not (ROOT / top[0]).exists()
        assert away or target.exists(), link


def test_links_are_found_in_every_form(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        '[a](a.md), ![b](b.png) and [c](<c.md>)\n[d](d%20d.md#part "title"), [e][e]\n\n'
        "[e]: ../e.md\n[not](https://x.org/y.md), [not](#part), `[not](code.md)`\n"
        "```sh\n[not](code.md)\n```\n",
        encoding="utf-8",
    )
    assert sorted(links(page)) == ["../e.md", "a.md", "b.png", "c.md", "d d.md"]
    assert "docs/formats.md" in links(ROOT / "README.md")
