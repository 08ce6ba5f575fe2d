import pytest

from lab.files import ROOT
from lab.study.results import Results


@pytest.fixture(scope="session")
def results():
    """The committed results."""
    return Results(ROOT / "report" / "results")


@pytest.fixture(scope="session")
def drawn(results):
    """Every figure of the catalogue, and its file, from the committed results."""
    from lab.show.figures import FIGURES
    from lab.show.style import encode

    figures = {name: draw(results) for name, draw in FIGURES.items()}
    return {name: (figure, encode(figure)) for name, figure in figures.items()}
