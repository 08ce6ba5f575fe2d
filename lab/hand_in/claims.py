"""The findings that report and notebooks state, each with the condition under which it is true.

A claim is a function of the results: its name is what a text refers to, its docstring is the sentence, and it returns
whether the sentence holds. A text says it in its own words, with ``#claim("name")[…]`` in ``report/report.typ`` and
``<!-- claim: name -->`` in a notebook. The tests hold every claim against the committed results; for other results
`make report` lists what does not hold, and the report marks it, so that one knows which sentences to write anew.
"""

import re

import numpy as np

from lab.files import ROOT
from lab.hand_in import claims_lime, claims_maps, claims_verdict
from lab.study.results import MissingResult

CLAIMS = {
    name: holds
    for module in (claims_lime, claims_maps, claims_verdict)
    for name, holds in vars(module).items()
    if callable(holds) and holds.__module__ == module.__name__ and not name.startswith("_")
}
"""By name: functions of the results (`lab.study.results.Results`) that say whether their docstring is true."""


def sentence(name):
    """What a claim says, in one line.

    Parameters
    ----------
    name : str
        Of `CLAIMS`.

    Returns
    -------
    str
    """
    return " ".join(CLAIMS[name].__doc__.split())


def refuted(results):
    """The claims that do not hold for some results.

    Parameters
    ----------
    results : lab.study.results.Results

    Returns
    -------
    list of str
        Names, in the order of `CLAIMS`; also those that ask for what these results do not have.
    """
    return [name for name, holds in CLAIMS.items() if not _holds(holds, results)]


def stated():
    """Which claims each text refers to.

    Returns
    -------
    dict of str to list of str
        Names by text: the report's source, and the notebooks.
    """
    texts = {"report/report.typ": r'#claim\("(\w+)"\)'} | {
        path.name: r"<!-- claim: (\w+) -->" for path in sorted(ROOT.glob("*.ipynb"))
    }
    return {
        text: re.findall(form, (ROOT / text).read_text(encoding="utf-8"))
        for text, form in texts.items()
    }


def stated_in(name):
    """The texts that refer to a claim.

    Parameters
    ----------
    name : str
        Of `CLAIMS`.

    Returns
    -------
    list of str
    """
    return [text for text, names in stated().items() if name in names]


def _holds(holds, results):
    try:
        with np.errstate(all="ignore"):
            return bool(holds(results))
    except (MissingResult, LookupError, ValueError):  # other pictures, networks or counts
        return False
