"""The page of ``lab.explain`` in a real browser: Chromium, driven by its protocol."""

import base64
import http.client
import io
import json
import shutil
import subprocess
import time

import numpy as np
import pytest
import websocket  # comes with jupyter
from PIL import Image

from lab.show import explained, maps

NAMES = "chromium", "chromium-browser", "google-chrome", "chrome"
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
FLAGS = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --hide-scrollbars"
FLAGS += " --disable-background-networking --disable-component-update --disable-sync"
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

IMAGE = np.full((60, 120, 3), (180, 120, 60), np.uint8)
HALVES = np.repeat([[-1.0, -1.0, 1.0, 1.0]], 4, axis=0).repeat(20, axis=0).repeat(20, axis=1)
CLASSES = [(386, "African_elephant", 0.7), (340, "zebra", 0.2)]
METHODS = ["lime", "rise"]


class Browser:
    """A tab of Chromium."""

    def __init__(self, folder):
        command = [CHROMIUM, *FLAGS.split(), f"--user-data-dir={folder}", "about:blank"]
        log = (folder / "log").open("wb")
        self.process = subprocess.Popen(
            [*command, "--remote-debugging-port=0"], stdout=log, stderr=log
        )
        port, deadline = folder / "DevToolsActivePort", time.monotonic() + 60
        while not (port.exists() and "\n" in port.read_text()):
            assert self.process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        connection = http.client.HTTPConnection("127.0.0.1", int(port.read_text().split()[0]))
        connection.request("GET", "/json/list")
        tabs = json.load(connection.getresponse())
        address = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
        self.socket = websocket.create_connection(address, suppress_origin=True, timeout=60)
        self.sent = 0

    def __call__(self, method, **parameters):
        self.sent += 1
        self.socket.send(json.dumps({"id": self.sent, "method": method, "params": parameters}))
        while (message := json.loads(self.socket.recv())).get("id") != self.sent:
            pass
        assert "error" not in message, message
        return message["result"]

    def js(self, expression):
        result = self("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def open(self, path, width, scripts=True):
        metrics = {"width": width, "height": 1400, "deviceScaleFactor": 1, "mobile": False}
        self("Emulation.setDeviceMetricsOverride", **metrics)
        self("Emulation.setScriptExecutionDisabled", value=not scripts)
        self("Page.navigate", url=path.as_uri())
        deadline = time.monotonic() + 60
        while not self.js("document.readyState == 'complete' && location.protocol == 'file:'"):
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def click(self, selector, at=0.5):
        """Click on an element: `at` is where along its width."""
        box = self.js(f"document.querySelector({selector!r}).getBoundingClientRect().toJSON()")
        place = {"x": box["x"] + at * box["width"], "y": box["y"] + box["height"] / 2}
        for kind in ("mousePressed", "mouseReleased"):
            self("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)

    def shown(self):
        """The captions of visible maps, without notes, and colours left and right."""
        screen = self("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        screen = np.asarray(Image.open(io.BytesIO(base64.b64decode(screen))).convert("RGB"), int)
        found = {}
        for caption, x, y, width, height in self.js("""
            [...document.querySelectorAll("figure")].filter(f => f.offsetHeight).map(f => {
              const box = f.querySelector("img").getBoundingClientRect()
              return [f.querySelector("span").innerText, box.x, box.y, box.width, box.height]
            })"""):
            places = [(int(y + height / 2), int(x + at * width)) for at in (0.2, 0.8)]
            colors = [screen[place] for place in places]
            found[caption.split(" (superpixel")[0]] = colors, (x, y, width, height)
        return found


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    started = Browser(tmp_path_factory.mktemp("browser"))
    yield started
    started("Browser.close")
    started.process.wait(30)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    of_class = [[HALVES, HALVES], [-HALVES, -HALVES]]
    one = explained.Explained("a_" * 60 + ".jpg", IMAGE, CLASSES, CLASSES, of_class)
    path = tmp_path_factory.mktemp("page") / "page.html"
    about = "Colour marks what a method finds important."
    path.write_bytes(explained.page([one, one], METHODS, "Explanations", about))
    return path


def expected(value, method, opacity):
    """The colour of a map's value over the image."""
    grey = IMAGE[0, 0] @ [0.2126, 0.7152, 0.0722]
    photo = IMAGE[0, 0] if opacity == 0 else grey  # as soon as a map is seen
    photo = 255 - (1 - 0.6 * opacity) * (255 - photo)
    shade = maps.shades(np.array([(value + 1) / 2]), signed=method == "lime")[0]
    return photo + opacity * shade[3] * (255 * shade[:3] - photo)


def test_method_class_and_opacity_change_the_pixels(browser, page):
    browser.open(page, 1000)
    state = {"method": "lime", "label": 386, "opacity": maps.OPACITY}
    titles = {"lime": "LIME", "rise": "RISE (regression)"}
    names = {386: "African elephant", 340: "zebra"}
    for step in ({}, {"method": "rise"}, {"label": 340}, {"method": "lime"}, {"opacity": 1}):
        state |= step
        for name, value in step.items():
            value = METHODS.index(value) if name == "method" else value
            selector = "#opacity" if name == "opacity" else f"[name={name}][value='{value}']"
            browser.click(selector, 0.99 if name == "opacity" else 0.5)
        shown = browser.shown()
        caption = f"{titles[state['method']]} of {names[state['label']]}"
        assert caption in shown
        sign = 1 if state["label"] == 386 else -1
        for color, value in zip(shown[caption][0], (-sign, sign)):
            wanted = expected(value, state["method"], state["opacity"])
            assert np.abs(color - wanted).max() < 8, (state, color, wanted)
    browser.click("#opacity", 0.01)
    for color in next(iter(browser.shown().values()))[0]:
        assert np.abs(color - IMAGE[0, 0]).max() < 8  # the image as it is


@pytest.mark.parametrize("width", [1000, 400])
def test_two_methods_stand_side_by_side_and_nothing_is_wider_than_the_window(browser, page, width):
    browser.open(page, width)
    assert list(browser.shown()) == ["LIME of African elephant"]
    browser.click("[name=method][value='1']")
    browser.click("[name=beside][value='0']")
    shown = {caption: box for caption, (_, box) in browser.shown().items()}
    assert set(shown) == {"LIME of African elephant", "RISE (regression) of African elephant"}
    second, first = (shown[caption] for caption in sorted(shown))
    if width == 1000:
        assert first[1] == second[1] and first[0] + first[2] < second[0]
    else:
        assert first[0] == second[0] and first[1] + first[3] < second[1]
    assert all(0 <= x and x + across <= width for x, _, across, _ in shown.values())
    assert all(across == pytest.approx(2 * down, rel=0.01) for _, _, across, down in shown.values())
    assert browser.js("document.documentElement.scrollWidth") <= width
    browser.click("[name=beside][value='1']")  # twice the same is shown once
    assert list(browser.shown()) == ["RISE (regression) of African elephant"]


def test_without_javascript_all_maps_are_shown_and_no_dead_controls(browser, page):
    browser.open(page, 1000, scripts=False)
    shown = browser.shown()
    assert len(shown) == 4
    for caption, (colors, _) in shown.items():
        sign, method = (1 if "elephant" in caption else -1), caption[:4].lower()
        for color, value in zip(colors, (-sign, sign)):
            assert np.abs(color - expected(value, method, maps.OPACITY)).max() < 8, caption
    assert browser.js("[...document.querySelectorAll('input')].every(i => !i.offsetHeight)")
