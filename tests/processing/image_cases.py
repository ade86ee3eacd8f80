"""Settings of image processors, as files have them, and the pictures that each is tried on."""

SMALL = {"height": 12, "width": 10}
CASES = {  # name -> the settings; the class is the word before the first dash
    "ViT-plain": {"size": SMALL},
    "ViT-number": {"size": 11, "resample": 3, "image_mean": [0.4, 0.5, 0.6]},
    "ViT-unscaled": {"size": SMALL, "do_normalize": False},
    "ViT-levels": {"size": SMALL, "do_rescale": False, "do_normalize": False},
    "ViT-kept": {"do_resize": False},
    "DeiT-plain": {"size": {"height": 16, "width": 16}, "crop_size": {"height": 12, "width": 11}},
    "Beit-cropped": {"size": SMALL, "crop_size": 9, "do_center_crop": True},
    "CLIP-plain": {"size": {"shortest_edge": 12}, "crop_size": {"height": 12, "width": 12}},
    "CLIP-padded": {"size": {"shortest_edge": 7}, "crop_size": {"height": 12, "width": 13}},
    "CLIP-longest": {
        "size": {"shortest_edge": 12, "longest_edge": 15},
        "do_center_crop": False,
        "do_rescale": True,
    },
    "Siglip-plain": {"size": SMALL},
    "Bit-plain": {"size": {"shortest_edge": 14}, "crop_size": 12, "resample": 2},
    "Blip-plain": {"size": {"height": 12, "width": 12}},
    "ConvNext-cropped": {"size": {"shortest_edge": 12}, "crop_pct": 0.8},
    "ConvNext-large": {"size": {"shortest_edge": 384}, "resample": 0},
    "Idefics-plain": {"image_size": 12},
    "Llava-square": {"size": {"shortest_edge": 12}, "crop_size": 12, "do_pad": True},
    "Siglip2-plain": {"patch_size": 4, "max_num_patches": 9, "do_convert_rgb": True},
    "DINOv3ViT-plain": {"size": SMALL},
    "Perceiver-plain": {"size": SMALL, "crop_size": {"height": 15, "width": 12}},
    "Perceiver-whole": {"size": SMALL, "do_center_crop": False},
}
RGB = ("CLIP", "Bit", "Blip", "Siglip", "Idefics", "Llava", "Siglip2")  # what converts to RGB
LARGE = ("ConvNext-large",)  # stored as every 16th pixel


def pictures_of(case):
    """The pictures that a case is tried on: of all modes where it makes RGB of them."""
    kind = case.split("-")[0]
    if case == "CLIP-plain":
        return ("rgb", "grey", "palette", "transparent", "alpha", "grey-alpha", "cmyk", "bits")
    return ("rgb", "grey", "small") if kind in RGB else ("rgb", "small")


TIMM = {  # what pretrained_cfg says
    "center": {"input_size": [3, 12, 12], "crop_pct": 0.9, "interpolation": "bilinear"},
    "whole": {"input_size": [3, 15, 15], "crop_pct": 1.0, "mean": [0.5] * 3, "std": [0.5] * 3},
    "squash": {"input_size": [3, 11, 14], "crop_mode": "squash", "interpolation": "bicubic"},
}
