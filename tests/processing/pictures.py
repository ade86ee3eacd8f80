"""Pictures that are computed, so that fixtures hold only what the references make of them."""

import io

import numpy as np

SHAPES = {  # name -> (its height and width, those of the result)
    "square": ((40, 40), (12, 12)),
    "oblong": ((31, 97), (10, 24)),
    "tiny": ((3, 2), (9, 7)),
    "pixel": ((1, 1), (5, 4)),
    "huge": ((900, 1300), (9, 13)),
    "taller": ((23, 17), (40, 9)),
}


def picture(height, width, channels=3, seed=0):
    """uint8 `[C H W]`: waves, edges between black and white, and noise."""
    rng = np.random.default_rng(seed)
    down, across = np.mgrid[:height, :width]
    planes = []
    for channel in range(channels):
        waves = 127.5 + 90 * np.sin(down / 5 + channel) * np.cos(across / 7 - channel)
        edges = 255.0 * ((down // 6 + across // (4 + channel)) % 2)
        noise = rng.uniform(0, 255, (height, width))
        planes.append(0.4 * waves + 0.4 * edges + 0.2 * noise)
    return np.stack(planes).astype(np.uint8)


def floats(height, width, channels=1, seed=0):
    """float32 `[C H W]` between 0 and 1, none of them whole."""
    return picture(height, width, channels, seed).astype(np.float32) / 256 + np.float32(1e-3)


def pillows():
    """name -> a picture of Pillow, of each mode that files have."""
    from PIL import Image

    rgb = Image.fromarray(picture(29, 41).transpose(1, 2, 0))
    alpha = Image.fromarray(picture(26, 34, 4, seed=3).transpose(1, 2, 0), mode="RGBA")
    palette = rgb.quantize(16)
    clear = rgb.quantize(16)
    clear.info["transparency"] = 3
    return {
        "rgb": rgb,
        "grey": Image.fromarray(picture(29, 41, 1)[0]),
        "palette": palette,
        "transparent": clear,
        "alpha": alpha,
        "grey-alpha": alpha.convert("LA"),
        "cmyk": rgb.convert("CMYK"),
        "small": Image.fromarray(picture(7, 5).transpose(1, 2, 0)),
        "bits": Image.fromarray(picture(29, 41, 1)[0] > 128),
    }


def turned(orientation):
    """The bytes of a PNG with an EXIF orientation, lossless."""
    from PIL import Image

    image = Image.fromarray(picture(29, 41).transpose(1, 2, 0))
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    image.save(file, "PNG", exif=exif)
    return file.getvalue()
