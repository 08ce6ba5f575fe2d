"""The pages of `make html`: they load nothing, and images have words."""

import base64

import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from lab.files import ROOT
from lab.hand_in import html

NOTEBOOKS = ["LIME", "RISE", "EVALUATION"]


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(html, "FOLDER", tmp_path_factory.mktemp("dist"))
        patch.setattr(html, "print", lambda *_: None, raising=False)
        html.main()
        files = {path.stem: path.read_text("utf-8") for path in html.FOLDER.iterdir()}
    return {name: BeautifulSoup(text, "html.parser") for name, text in files.items()}


def test_the_index_leads_to_every_notebook(pages):
    assert sorted(pages) == sorted([*NOTEBOOKS, "index"])
    links = [link["href"] for link in pages["index"].select("h2 a")]
    assert links == [f"{name}.html" for name in NOTEBOOKS]
    for name in NOTEBOOKS:  # by its title, not the name of its file
        assert pages[name].title.text in pages["index"].text and pages[name].title.text != name


@pytest.mark.parametrize("name", [*NOTEBOOKS, "index"])
def test_nothing_is_loaded_from_elsewhere(pages, name):
    assert pages[name].html["lang"] == "en"
    assert not pages[name].select("script[src], link, iframe, object")
    assert all(image["src"].startswith("data:image/") for image in pages[name].select("img"))


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_every_image_has_an_alternative_text(pages, name):
    images = pages[name].select("img")
    texts = [image["alt"] for image in images]
    assert len(images) > 15 and min(map(len, texts)) > 12
    assert not any("No description" in text for text in texts)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_links_lead_somewhere(pages, name):
    for link in pages[name].select("a[href]"):
        file, _, anchor = link["href"].partition("#")
        if "://" not in file:
            page = pages[file.removesuffix(".html") or name]
            assert not anchor or page.find(id=anchor), link["href"]


def of(*cells):
    return BeautifulSoup(html.page(new_notebook(cells=list(cells)), "A title"), "html.parser")


def test_formulas_are_mathml():
    page = of(new_markdown_cell("A $x_1$ and\n\n$$\\frac{1}{N}\\sum_i x_i$$\n\nand `$code$`."))
    assert [formula.get("display") for formula in page.select("math")] == ["inline", "block"]
    assert page.select("math munder, math munderover") and page.select("math mfrac")
    assert page.code.text == "$code$" and page.text.count("$") == 2


def test_answers_are_folded():
    page = of(new_markdown_cell("<details><summary>Answer</summary>\n\nIt *is*.\n\n</details>"))
    assert page.details.em.text == "is"


def test_a_widget_says_in_html_that_it_needs_python_or_nothing():
    view = {html.WIDGET: {"model_id": "1"}, "text/plain": "IntSlider(value=1)"}
    silent = new_code_cell("a", outputs=[new_output("display_data", view)])
    said = view | {"text/html": "<p>Needs Python</p>"}
    page = of(silent, new_code_cell("b", outputs=[new_output("display_data", said)]))
    assert "Needs Python" in page.text and "IntSlider" not in page.text


def test_the_alternative_text_of_a_figure_is_escaped():
    data = {"image/png": base64.b64encode(b"pixels").decode()}
    metadata = {"image/png": {"alt": 'a "b" <c>'}}
    page = of(new_code_cell("a", outputs=[new_output("display_data", data, metadata=metadata)]))
    assert page.img["alt"] == 'a "b" <c>'


def test_a_notebook_that_did_not_run_is_refused_and_nothing_written(tmp_path, monkeypatch):
    (tmp_path / "LIME.ipynb").write_text('{"nbformat": 4, "nbformat_minor": 5, "metadata": {}')
    monkeypatch.setattr(html, "ROOT", tmp_path)
    monkeypatch.setattr(html, "FOLDER", tmp_path / "dist")
    with pytest.raises(SystemExit, match="LIME.ipynb is no notebook"):
        html.main()
    assert not (tmp_path / "dist").exists()
    assert (ROOT / "LIME.ipynb").is_file()
