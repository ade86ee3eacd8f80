"""Texts with pictures, for each class of processors: what a call is given, by names of pictures."""

SMALL = {"height": 8, "width": 8}
CROP = {"size": {"shortest_edge": 8}, "crop_size": SMALL}
IMAGES = {  # the image processor of each class
    "Llava": ("CLIP", CROP),
    "PaliGemma": ("Siglip", {"size": SMALL, "image_seq_length": 3}),
    "Blip2": ("Blip", {"size": SMALL}),
    "Blip": ("Blip", {"size": SMALL}),
    "Idefics": ("Idefics", {"image_size": 8}),
    "CLIP": ("CLIP", CROP),
    "Siglip": ("Siglip", {"size": SMALL}),
    "Siglip2": ("Siglip2", {"patch_size": 4, "max_num_patches": 5, "do_convert_rgb": True}),
}
OWN = {  # what processor_config.json says beside it
    "Llava-full": {"patch_size": 4, "vision_feature_select_strategy": "full"},
    "Llava": {
        "patch_size": 4,
        "vision_feature_select_strategy": "default",
        "num_additional_image_tokens": 1,
    },
    "Blip2": {"num_query_tokens": 4},
}
A, B = "a cat sits", "the dog runs over a mat"
ONE, TWO = f"<image> {A}", f"the <image> dog <image> {B}"
CASES = {  # name -> (texts, pictures, options); the class is the word before the first dash
    "Llava-one": (ONE, "rgb", {}),
    "Llava-full": ([ONE], ["rgb"], {}),
    "Llava-several": ([ONE, TWO], ["rgb", "grey", "small"], {"padding": True}),
    "Llava-text": ([A, B], None, {"padding": True}),
    "PaliGemma-one": (A, "rgb", {}),
    "PaliGemma-several": ([A, B], [["rgb"], ["grey", "small"]], {"padding": True}),
    "PaliGemma-written": ([ONE, f"<image><image>{B}"], ["rgb", "grey", "small"], {"padding": True}),
    "PaliGemma-suffix": ([A, B], ["rgb", "grey"], {"padding": True, "suffix": [B, A]}),
    "Blip2-one": (A, "rgb", {}),
    "Blip2-several": ([A, B], ["rgb", "grey"], {"padding": True}),
    "Blip2-wide": ([A, B], ["rgb", "grey"], {"padding": "max_length", "max_length": 14}),
    "Blip-several": ([A, B], ["rgb", "grey"], {"padding": True}),
    "Idefics-pairs": ([A, B], ["rgb", "grey"], {}),
    "Idefics-lists": ([A, B], [["rgb", "grey"], ["small", "small"]], {"add_eos_token": True}),
    "Idefics-turns": (
        [["the", "IMAGE rgb", A, B], ["IMAGE grey", "IMAGE small", "dog </s> cat", "IMAGE rgb"]],
        None,
        {},
    ),
    "Idefics-text": ([[A, B], [B]], None, {}),
    "CLIP-several": ([A, B, A], ["rgb", "grey"], {"padding": True}),
    "Siglip-several": ([A, B], ["rgb"], {"padding": "max_length"}),
    "Siglip2-several": ([A, " ".join([B] * 12)], ["rgb", "small"], {}),
}


def with_pictures(value, images):
    """The names of pictures in a case, replaced by the pictures."""
    if isinstance(value, list):
        return [with_pictures(one, images) for one in value]
    if isinstance(value, str) and value.startswith("IMAGE "):
        return images[value.removeprefix("IMAGE ")]
    return value


def pictures_of(value, images):
    """The pictures of a call, of their names."""
    if isinstance(value, list):
        return [pictures_of(one, images) for one in value]
    return None if value is None else images[value]
