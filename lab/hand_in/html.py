"""``python -m lab.hand_in.html``: write the executed notebooks as pages of HTML.

A page holds its figures, and each figure an alternative text. It loads nothing, and its
formulas are MathML, so it can be read offline, on a phone and by a screen reader.
"""

import html
from urllib.parse import urlsplit

import nbformat
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from lab.command import stopping
from lab.files import ROOT, write_whole
from lab.hand_in.archive import said, without_markers
from lab.hand_in.report import metadata

FOLDER = ROOT / "dist" / "html"
NOTEBOOKS = "LIME", "RISE", "EVALUATION"  # in the order to read them
WIDGET = "application/vnd.jupyter.widget-view+json"

_IMAGE = """\
{%- block data_KIND -%}
<div class="jp-RenderedImage jp-OutputArea-output {{ extra_class }}">
<img src="data:image/TYPE;base64,{{ output.data['image/TYPE'] }}"
  alt="{{ output | get_metadata('alt', 'image/TYPE') | escape_html }}">
</div>
{%- endblock -%}
"""
TEMPLATE = """\
{%- extends 'index.html.j2' -%}
{%- block html_head_js -%}{%- endblock -%}
{%- block jupyter_widgets -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
{%- block html_head_css -%}
<style>
main { max-width: 60rem; margin: 0 auto; }
body.jp-Notebook { padding: 1rem; overflow: visible; }
.jp-RenderedHTMLCommon { padding-right: 0; overflow-wrap: anywhere; }
.jp-RenderedHTMLCommon table { display: block; overflow-x: auto; overflow-wrap: normal; }
.jp-OutputArea-output, .jp-InputArea-editor, .highlight pre, math[display=block] {
  overflow-x: auto; }
.jp-OutputArea-output img, .jp-RenderedMarkdown img { max-width: 100%; height: auto; }
.jp-RenderedMarkdown img, .jp-RenderedImage img { display: block; width: 100%; }
@media (max-width: 40rem) {
  body.jp-Notebook { padding: 0.25rem; }
  .jp-Cell { padding: 0.25rem; }
}
</style>
{%- endblock -%}
""" + "".join(
    _IMAGE.replace("KIND", kind).replace("TYPE", name)
    for kind, name in (("png", "png"), ("jpg", "jpeg"))
)
INDEX = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ max-width: 40rem; margin: 0 auto; padding: 1rem; font: 1rem/1.5 sans-serif; }}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p>{about}</p>
{entries}
</main>
</body>
</html>
"""


class _Renderer(IPythonRenderer):
    """Markdown without anything that is loaded from elsewhere."""

    def inline_math(self, body):
        return convert(body)

    def block_math(self, body):
        return convert(body, display="block")

    def block_html(self, html):
        return html  # nbconvert closes what is opened here and goes on below, as <details>

    def link(self, text, url, title=None):
        parts = urlsplit(url)
        if parts.path.endswith(".ipynb"):
            url = parts._replace(path=parts.path.removesuffix(".ipynb") + ".html").geturl()
        elif parts.path and not parts.netloc:
            return text  # a file of the lab, which is not beside the page
        return super().link(text, url, title)


def _markdown(source):
    renderer = _Renderer(escape=False, embed_images=True, path=str(ROOT))
    return MarkdownWithMath(renderer=renderer).render(source)


def page(notebook, title):
    """A notebook as one page of HTML; widgets, which need Python, are left out."""
    for cell in notebook.cells:
        for output in list(cell.get("outputs", [])):
            # What a widget has to say without Python it says in HTML.
            if output.get("data", {}).pop(WIDGET, None) and "text/html" not in output.data:
                cell.outputs.remove(output)
    notebook.metadata["title"] = title
    exporter = HTMLExporter(
        raw_template=TEMPLATE,
        filters={"markdown2html": _markdown},
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )
    return exporter.from_notebook_node(notebook)[0]


def main():
    """Write the pages and their index into ``dist/html``."""
    entries = []
    with stopping():
        about = metadata()
        for path in (ROOT / f"{name}.ipynb" for name in NOTEBOOKS):
            said(path)  # refuses a notebook that did not run
            notebook = without_markers(nbformat.read(path, as_version=4))
            heading, first = notebook.cells[0].source.split("\n\n")[:2]
            title = heading.removeprefix("# ")
            write_whole(FOLDER / f"{path.stem}.html", page(notebook, title).encode())
            link = f'<a href="{path.stem}.html">{html.escape(title)}</a>'
            entries.append(f"<h2>{link}</h2>\n{_markdown(first)}")
        words = {name: html.escape(about.get(name, "")) for name in ("title", "subtitle", "author")}
        line = ". ".join(filter(None, (words["subtitle"], words["author"])))
        index = INDEX.format(title=words["title"], about=line, entries="\n".join(entries))
        write_whole(FOLDER / "index.html", index.encode())
    print(f"Wrote {len(entries)} notebooks and index.html into dist/html")


if __name__ == "__main__":
    main()
