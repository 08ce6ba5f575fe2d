"""The playground of the notebooks: try an image, a class and a method, by widgets."""

import base64
import html
import tempfile
import textwrap
from pathlib import Path

import ipywidgets as widgets
import numpy as np

from lab.images import list_images, load_image
from lab.methods.lime import lime_explanation
from lab.methods.setting import Setting
from lab.model_calls import BATCH
from lab.show import maps
from lab.show.explained import shrunk
from lab.show.style import for_notebook
from rise import Rise

WITHOUT_PYTHON = "The playground needs Python: open this notebook in JupyterLab and run this cell."
BEST = ("the most probable class", -1)
BASELINES = {"black": (0, 0, 0), "own mean colour": None, "blurred image": "blur"}
_WIDE = {"style": {"description_width": "initial"}, "layout": {"width": "17em"}}
_WRAPPED = {"layout": {"flex_flow": "row wrap"}}


class Playground(widgets.VBox):
    """Explain an image after the press of a button, above what was explained before.

    Parameters
    ----------
    network : callable
        From images ``(N, input_size, input_size, 3)`` to probabilities, with
        `input_size`, `class_names`, `class_name` and `class_index`.
    method : {"LIME", "RISE"}
        The method to begin with.
    """

    def __init__(self, network, method):
        self.network, self.panels = network, []
        self.folder = tempfile.TemporaryDirectory()  # of uploads, while the object lives
        self.uploads = {}  # their own names by path
        files = [path for kind in ("African_elephant", "black_bear") for path in list_images(kind)]
        self.image = widgets.Dropdown(
            options=[(path.stem, path) for path in files], description="image", **_WIDE
        )
        self.upload = widgets.FileUpload(
            accept="image/*", description="your own", layout=_WIDE["layout"]
        )
        self.guess = widgets.Dropdown(options=[BEST], description="class", **_WIDE)
        self.search = widgets.Combobox(
            options=list(dict.fromkeys(network.class_names)),
            placeholder="or type a name or a number",
            description="other",
            **_WIDE,
        )
        self.method = widgets.ToggleButtons(options=["LIME", "RISE"], value=method)
        self.parameters = {
            "LIME": {
                "num_samples": widgets.IntText(1000),
                "hide_color": widgets.Dropdown(options=list(BASELINES)),
                "num_superpixels": widgets.IntText(5),
            },
            "RISE": {
                "nb_samples": widgets.IntText(1000),
                "grid_size": widgets.IntText(7),
                "preservation_probability": widgets.FloatText(0.5, step=0.1),
            },
        }
        for fields in self.parameters.values():
            for name, field in fields.items():
                field.description, field.style, field.layout = name, *_WIDE.values()
        self.chosen = widgets.HBox(**_WRAPPED)
        self.button = widgets.Button(description="Explain", button_style="primary")
        self.bar = widgets.IntProgress(layout={"visibility": "hidden"})
        self.message, self.result = widgets.HTML(), widgets.HTML()
        self.upload.observe(self._take_upload, "value")
        self.image.observe(self._forget_guesses, "value")
        self.method.observe(self._show_parameters, "value")
        self.button.on_click(self._explain)
        self._show_parameters()
        lines = [[self.image, self.upload], [self.guess, self.search], [self.method]]
        lines += [[self.chosen], [self.button, self.bar]]
        lines = [widgets.HBox(line, **_WRAPPED) for line in lines]
        super().__init__([*lines, self.message, self.result])

    def _repr_mimebundle_(self, **options):
        data = super()._repr_mimebundle_(**options)
        return data | {"text/plain": WITHOUT_PYTHON, "text/html": f"<p>{WITHOUT_PYTHON}</p>"}

    def _take_upload(self, change):
        for file in change["new"]:
            # Not by its own name, which the file system may refuse.
            path = Path(self.folder.name, str(len(list(Path(self.folder.name).iterdir()))))
            path.write_bytes(file["content"])
            self.uploads[path] = Path(file["name"]).name or "upload"
            kept = [option for option in self.image.options if option[0] != self.uploads[path]]
            self.image.options = [*kept, (self.uploads[path], path)]
            self.image.value = path

    def _forget_guesses(self, change):
        self.guess.options = [BEST]

    def _show_parameters(self, change=None):
        self.chosen.children = list(self.parameters[self.method.value].values())

    def _explain(self, button):
        self.message.value, self.button.disabled = "", True
        try:
            self.panels = [*self.panels, self._panel()]
            rows = maps.wrapped(self.panels[:-5:-1], 2)
            shown = for_notebook(maps.sheet(rows, "The last explanations, the newest first"))
            source = f"data:image/jpeg;base64,{base64.b64encode(shown.data).decode()}"
            self.result.value = f'<img src="{source}" alt="{html.escape(shown.alt)}" width="100%">'
        except Exception as error:  # of a callback, nobody else would show it
            path, message = self.image.value, str(error)
            # An upload is known by its name, not by where it was put.
            message = message.replace(str(path), self.uploads.get(path, str(path)))
            self.message.value = html.escape(message)
        finally:
            self.button.disabled, self.bar.layout.visibility = False, "hidden"

    def _label(self, probabilities):
        """The class that is wanted; the dropdown then offers the network's guesses."""
        best = np.argsort(-probabilities, kind="stable")[:3].tolist()
        wanted, name = self.guess.value, self.search.value.strip()
        label = self.network.class_index(name) if name else best[0] if wanted == BEST[1] else wanted
        if label is None:
            hint = "type a few letters and choose one"
            raise ValueError(f"the network has no class {name!r}: {hint}")
        named = [(f"{self.network.class_name(one)} {probabilities[one]:.2f}", one) for one in best]
        self.guess.options = [BEST, *named]
        self.guess.value = wanted if wanted in best else BEST[1]
        return label

    def _panel(self):
        image = load_image(self.image.value, self.network.input_size)
        photograph = shrunk(load_image(self.image.value))
        probabilities = self.network(image[None])[0]
        label = self._label(probabilities)
        fields = self.parameters[self.method.value]
        values = {name: field.value for name, field in fields.items()}
        self.bar.value, self.bar.max = 0, max(1, next(iter(values.values())))
        self.bar.layout.visibility = "visible"

        def predict(images):
            scores = self.network(images)
            self.bar.value += len(images)
            return scores

        predict.batch_size = getattr(self.network, "batch_size", BATCH)
        name = self.network.class_name(label).replace("_", " ")
        head = f"{len(self.panels) + 1}. {self.method.value}: {name}"
        note = [f"probability {probabilities[label]:.2f}"]
        note += [f"{name} {value}" for name, value in values.items()]
        if self.method.value == "RISE":
            explainer = Rise(predict, predict.batch_size, **values)
            saliency = explainer.explain_classes(image, label)[0]
            return maps.saliency(photograph, saliency, head, textwrap.fill(", ".join(note), 48))
        values["hide_color"] = BASELINES[values["hide_color"]]
        explanation = lime_explanation(predict, image, Setting(**values), label)
        note.append(f"R² {explanation.r2:.2f}")
        panel = maps.weights(
            photograph, explanation.saliency, head, textwrap.fill(", ".join(note), 48)
        )
        return panel._replace(pixels=maps.outlined(panel.pixels, explanation.shown))
