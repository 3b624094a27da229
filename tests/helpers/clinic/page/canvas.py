"""What a canvas of the clinic's page shows."""

import base64

import numpy as np

_READ = """() => {
    const canvas = document.querySelector("canvas");
    const { width, height } = canvas;
    const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
    const text = data.reduce((all, byte) => all + String.fromCharCode(byte), "");
    return [width, height, btoa(text)];
}"""


def pixels(page):
    """The first canvas, int (H, W, 3), after what was asked for has been drawn."""
    page.locator(".tool").first.wait_for()
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    width, height, text = page.evaluate(_READ)
    flat = np.frombuffer(base64.b64decode(text), np.uint8)
    return flat.reshape(height, width, 4)[..., :3].astype(int)
