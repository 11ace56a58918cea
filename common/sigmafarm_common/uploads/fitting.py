"""What an engine is given of an uploaded picture: the pixels of a job's size, and a mask of one channel.

A picture of another size is made larger or smaller until it covers the job's, and what stands out is cut off evenly on
both sides. One of the job's size is taken as it is, bit for bit.
"""

from __future__ import annotations

from PIL import Image, ImageChops

from sigmafarm_common.uploads.sizes import Size

#: What stands behind the transparent parts of a picture.
BACKGROUND = "white"


def init_picture(image: Image.Image, size: Size) -> Image.Image:
    """Return an RGB picture of a size, of RGB or RGBA; what is transparent is on white."""
    if image.mode == "RGBA":
        behind = Image.new("RGBA", image.size, BACKGROUND)
        image = Image.alpha_composite(behind, image).convert("RGB")
    return covering(image, size, Image.Resampling.LANCZOS)


def mask_picture(image: Image.Image, size: Size) -> Image.Image:
    """Return a mask of a size, mode L, of RGB or RGBA: 255 is drawn anew, 0 stays. Where something of the picture is
    transparent, that is drawn anew; otherwise what is white, and greys in part."""
    mask = ImageChops.invert(image.getchannel("A")) if image.mode == "RGBA" else image.convert("L")
    return covering(mask, size, Image.Resampling.BILINEAR)


def covering(image: Image.Image, size: Size, resampling: Image.Resampling) -> Image.Image:
    """Return the middle of a picture, of the shape of a size and made of that size."""
    if image.size == size:
        return image
    scale = max(size.width / image.width, size.height / image.height)
    width, height = size.width / scale, size.height / scale
    left, top = (image.width - width) / 2, (image.height - height) / 2
    box = (max(left, 0.0), max(top, 0.0), min(left + width, image.width), min(top + height, image.height))
    return image.resize(size, resampling, box)
