"""A picture as an array, from wherever it comes.

Files and bytes are read as `transformers.image_utils.load_image` reads them: turned upright by
their EXIF orientation, then RGB (an alpha channel is dropped, a transparent colour is not: it is
laid on white). Pictures of Pillow and arrays are taken as they are: no EXIF, and where RGB is asked
for a transparent picture is laid on white.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Num

from transformers_jax.extras import need

Image = Num[np.ndarray, "C H W"]
ORDERS = ("channels_first", "channels_last")
CHANNELS = (1, 3, 4)
GREY = ("1", "L", "LA")  # the modes of Pillow for levels of grey, after `eight_bits`
DEEP = "I;16"  # how the modes of Pillow for 16 bits a pixel begin
DEEP_FILES = ("PNG", "PPM")  # whose pictures of mode "I" have 16 bits


def read_image(
    source: Any,
    *,
    rgb: bool = True,
    white: bool = True,
    grey: bool = False,
    order: str | None = None,
    name: str = "image",
) -> Image:
    """The picture, channels first, in the dtype that it has (files are uint8).

    Args:
        source: a path, the bytes of a file, a dict with "bytes" or "path" (as Parquet files of
            Hugging Face hold pictures), a picture of Pillow, or an array `[H W]`, `[H W C]` or
            `[C H W]` of 1, 3 or 4 channels.
        rgb: whether the result has the three channels of RGB, whatever came.
        white: whether, with `rgb`, the transparent colour of a file becomes white.
        grey: whether files in levels of grey have one channel, and not the three of RGB.
        order: "channels_first" or "channels_last" of an array; by default, what its shape says.
        name: what messages call it, where it has no path.

    Raises:
        ValueError: no picture, a damaged file (by its name), an array whose channels cannot be
            told, or values that are no levels.
    """
    if isinstance(source, Mapping):
        source, name = _struct(source, name)
    if isinstance(source, (str, os.PathLike)):
        return _file(Path(source), rgb and white, grey, str(source))
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _file(io.BytesIO(source), rgb and white, grey, name)
    if hasattr(source, "getbands"):
        return _pillow(source, rgb, name)
    if hasattr(source, "__array__"):
        return _array(np.asarray(source), rgb, order, name)
    kind = "None" if source is None else f"a {type(source).__name__}"
    raise ValueError(f"{name} is {kind}; expected a path, bytes, an array or a picture of Pillow")


def _struct(source: Mapping[str, Any], name: str) -> tuple[Any, str]:
    """The bytes or the path of a dict, and what messages call it."""
    content, path = source.get("bytes"), source.get("path")
    if content is None and path is None:
        raise ValueError(
            f"{name} is a dict with {sorted(map(str, source))}; expected 'bytes' or 'path'"
        )
    return (path, name) if content is None else (content, str(path or name))


def _file(file: Any, white: bool, grey: bool, name: str) -> Image:
    need("PIL", "vision", name)
    from PIL import Image as pillow
    from PIL import ImageOps

    try:
        with pillow.open(file) as opened:
            ImageOps.exif_transpose(opened, in_place=True)  # which copies only what it turns
            upright = eight_bits(opened, name)
            if grey and upright.mode in GREY:
                return np.asarray(upright.convert("L"))[None]
            upright = upright if upright.mode == "RGB" else upright.convert("RGB")
            if white and upright.info.get("transparency") is not None:  # as one colour of RGB
                upright = on_white(upright)
            return np.asarray(upright).transpose(2, 0, 1)  # its pixels stay side by side
    except FileNotFoundError:
        raise ValueError(f"{name} does not exist") from None
    except pillow.UnidentifiedImageError:  # whose text is the repr of an object
        kinds = "of no kind that Pillow knows"
        raise ValueError(f"{name} is no picture that can be read: it is {kinds}") from None
    except (OSError, SyntaxError, EOFError, pillow.DecompressionBombError) as error:
        raise ValueError(f"{name} is no picture that can be read: {error}") from None


def eight_bits(image: Any, name: str) -> Any:
    """A picture of Pillow with at most 8 bits a channel; 16 bits of grey become the nearest level,
    where Pillow's own conversion makes white of all above 255.

    Mode "I", of 32 bits, does not say its white: it is 255 where no value is above that, else that
    of 16 bits.

    Raises:
        ValueError: floats, or values beyond 16 bits, whose white is not known.
    """
    from PIL import Image as pillow

    if not image.mode.startswith(DEEP) and image.mode not in ("I", "F"):
        return image
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise ValueError(
            f"{name} has values from {values.min()} to {values.max()} in Pillow's mode "
            f"{image.mode!r}; scale them to levels from 0 to 255 and pass the array"
        )
    if image.mode == "I" and values.max() <= 255 and image.format not in DEEP_FILES:
        return pillow.fromarray(values.astype(np.uint8))
    return pillow.fromarray(((values.astype(np.int64) + 128) // 257).astype(np.uint8))


def _pillow(image: Any, rgb: bool, name: str) -> Image:
    image = eight_bits(image, name)
    if rgb:
        image = on_white(image)
    array = np.asarray(image)
    if array.dtype == bool:  # mode "1"
        array = array.astype(np.uint8) * 255
    return array[None] if array.ndim == 2 else np.ascontiguousarray(array.transpose(2, 0, 1))


def on_white(image: Any) -> Any:
    """A picture of Pillow in RGB; what is transparent is laid on white."""
    from PIL import Image as pillow

    if "A" in image.getbands() or image.info.get("transparency") is not None:
        layer = image.convert("RGBA")
        ground = pillow.new("RGBA", image.size, (255, 255, 255, 255))
        image = pillow.alpha_composite(ground, layer)
    return image.convert("RGB")


def _array(array: np.ndarray, rgb: bool, order: str | None, name: str) -> Image:
    if array.ndim == 2:
        array, order = array[None], "channels_first"
    if array.ndim != 3 or 0 in array.shape:
        raise ValueError(f"{name} has shape {array.shape}; expected [H W C], [C H W] or [H W]")
    if (order or _order(array.shape, name)) == "channels_last":
        array = array.transpose(2, 0, 1)
    if array.shape[0] not in CHANNELS:
        raise ValueError(
            f"{name} has {array.shape[0]} channels, counted {order}; expected 1, 3 or 4"
        )
    array = np.ascontiguousarray(_levels(array, name))
    return _three(array, name) if rgb else array


def _order(shape: tuple[int, ...], name: str) -> str:
    first, last = shape[0] in CHANNELS, shape[2] in CHANNELS
    if first and last:
        raise ValueError(
            f"{name} has shape {shape}, whose first and last axis may both be channels; pass "
            "input_data_format='channels_first' or 'channels_last'"
        )
    if not first and not last:
        raise ValueError(
            f"{name} has shape {shape}: neither the first nor the last axis is 1, 3 or 4 channels"
        )
    return "channels_first" if first else "channels_last"


def _levels(array: np.ndarray, name: str) -> np.ndarray:
    """The array in uint8 or in floats, which are finite."""
    if array.dtype == np.uint8:
        return array
    if np.issubdtype(array.dtype, np.integer):
        if array.min() < 0 or array.max() > 255:
            raise ValueError(
                f"{name} has values from {array.min()} to {array.max()} in {array.dtype}; expected "
                "levels from 0 to 255 (of 16 bits: (array // 257).astype('uint8'))"
            )
        return array.astype(np.uint8)
    if not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"{name} has dtype {array.dtype}; expected uint8 or floats")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} has values that are not finite")
    return array if array.dtype == np.float32 else array.astype(np.float32)


def _three(array: np.ndarray, name: str) -> Image:
    """RGB of an array: grey thrice, and what is transparent laid on white."""
    if array.shape[0] == 1:
        return np.repeat(array, 3, axis=0)
    if array.shape[0] == 3:
        return array
    floats = array.dtype != np.uint8
    if floats and (array.min() < 0 or array.max() > 1):
        raise ValueError(
            f"{name} has four channels and values from {array.min()} to {array.max()}; floats with "
            "an alpha channel lie between 0 and 1"
        )
    white = 1.0 if floats else 255.0
    alpha = array[3:] / white
    laid = alpha * array[:3] + (1 - alpha) * white
    return laid.astype(np.float32) if floats else np.round(laid).astype(np.uint8)
