import pytest

from lab.files import ROOT
from lab.study.results import Results


@pytest.fixture(scope="session")
def results():
    """The committed results."""
    return Results(ROOT / "report" / "results")


@pytest.fixture(scope="session")
def drawn(results):
    """Every figure of the catalogue, from the committed results."""
    from lab.show.figures import FIGURES

    return {name: draw(results) for name, draw in FIGURES.items()}


@pytest.fixture(scope="session")
def files(results):
    """The files of all figures."""
    from lab.show.__main__ import draw
    from lab.show.figures import FIGURES

    return draw(FIGURES, results.folder)
