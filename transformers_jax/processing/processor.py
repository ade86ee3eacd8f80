"""`load_processor`: what a model's folder says of its inputs, as one function from pictures, texts
and sound to the arguments of the model."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers_jax.data.inputs import OTHERWISE
from transformers_jax.data.tokenizers import has_tokenizer, load_tokenizer
from transformers_jax.data.unknown import check_characters
from transformers_jax.hub.download import resolve
from transformers_jax.json_files import errors_of
from transformers_jax.processing import placeholders as rules
from transformers_jax.processing.audio.features import OPTIONS
from transformers_jax.processing.audio.processor import AudioProcessor, audio_processor
from transformers_jax.processing.files import MODEL, PREPROCESSOR, PROCESSOR, Described, read_files
from transformers_jax.processing.image.processor import ImageProcessor, image_processor, named
from transformers_jax.processing.image.timm import KIND
from transformers_jax.processing.interleaved import Interleaved
from transformers_jax.publish import publish_json

log = logging.getLogger("transformers_jax")
Rule = rules.Plain | rules.Repeated | rules.Prefix | rules.Queries | Interleaved
OF_SOUND = (*OPTIONS, "resample")
OF_PICTURES = ("input_data_format",)
CLIP_TOWER = "clip_vision_model"  # LLaVA's, where its config names none


def load_processor(
    path_or_id: str | os.PathLike[str],
    *,
    backend: str | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    **overrides: Any,
) -> Processor:
    """The processor of a model's folder or of a model on the hub: its preprocessor_config.json or
    processor_config.json, and its tokenizer where it has one.

    Args:
        backend: which library pictures are resized like: "pil", "torchvision" or "tf". By default
            "torchvision" where the class ends in "Fast" and where processor_config.json holds it
            (version 5 of transformers writes that, whose default it is) of a class that does not
            end in "Pil", otherwise "pil". `save` names the class that chooses what was passed.
        overrides: settings in place of those of the file, such as `do_rescale=False`.

    Raises:
        ValueError: no such folder or file; a class or a setting that is not known, by its name.
        ConnectionError: a model's id, while the hub cannot be reached.
    """
    hub: dict[str, Any] = {"revision": revision, "token": token, "cache_dir": cache_dir}
    folder = Path(resolve(path_or_id, **hub, local_files_only=local_files_only))
    folder = folder.parent if folder.is_file() else folder
    described = read_files(folder, overrides)
    with errors_of(folder):
        images = _images(described, backend)
        sound = None
        if described.audio is not None:
            sound = audio_processor(described.audio, described.model_type)
        elif backend is not None and images is None:
            raise ValueError(f"backend={backend!r} is of pictures, of which there is no processor")
        rule = _rule(described, images)
    tokenizer, problem = None, f"{folder} has no tokenizer"
    if has_tokenizer(folder):
        try:
            tokenizer = load_tokenizer(folder)
        except ValueError as error:  # pictures and sound need none
            problem = str(error)
    written = dict(described.files)
    chosen = _choosing(described, images)
    if (overrides or chosen is not described) and MODEL not in written:
        _replace(written, chosen or described)
    lost = chosen is None
    return Processor(images, sound, tokenizer, rule, described.processor, written, problem, lost)


@dataclass(frozen=True)
class Processor:
    """Pictures, texts and sound in, a dict of the model's arguments out.

    Attributes:
        image_processor, audio_processor: of pictures and of sound; None where the model takes none.
        tokenizer: of the folder, or None.
        rule: where texts get the tokens of pictures.
        processor_class: the class of transformers that it stands for, if a file says it.
        files: the JSON files that it was read from, which `save` writes.
    """

    image_processor: ImageProcessor | None
    audio_processor: AudioProcessor | None
    tokenizer: Any = None
    rule: Rule = field(default_factory=rules.Plain)
    processor_class: str | None = None
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    _problem: str = field(default="there is no tokenizer", repr=False)
    _lost: bool = field(default=False, repr=False)  # whether no file can say its backend

    def __call__(
        self,
        images: Any = None,
        text: str | Sequence[Any] | None = None,
        audio: Any = None,
        sampling_rate: int | None = None,
        *,
        suffix: str | Sequence[str] | None = None,
        segmentation_maps: Any = None,
        **options: Any,
    ) -> dict[str, Any]:
        """What the model takes: pixel_values, input_ids, attention_mask, input_features,
        input_values, pixel_attention_mask, spatial_shapes, image_attention_mask, labels, ...

        Args:
            images: a picture or several: paths, bytes, arrays, pictures of Pillow. Of several to a
                text, a list for each text.
            text: a text or several; with sound, what is said in it, whose ids are the labels.
            audio: a sound or several: paths, bytes, arrays of one channel.
            sampling_rate: of arrays, in Hz. Another than the model's needs `resample=True`.
            suffix: the answers after the prompts, of PaliGemma.
            segmentation_maps: of each picture the class of each pixel, of BEiT; they become labels.
            options: those of `Tokenizer.batch` for texts (`padding`, `max_length`, `truncation`,
                ...), those of `AudioProcessor` for sound, and `input_data_format` of pictures.

        Raises:
            TypeError: an unknown option.
            ValueError: nothing to process, what this model does not take, or what cannot be read.
        """
        if images is None and text is None and audio is None:
            raise ValueError("there is nothing to process; pass images, text or audio")
        if "return_tensors" in options:
            raise TypeError(f"there is no option 'return_tensors': {OTHERWISE['return_tensors']}")
        if suffix is not None and not isinstance(self.rule, rules.Prefix):
            raise ValueError(f"suffix is of PaliGemma's processor, not of {self._name}")
        if audio is not None:
            if segmentation_maps is not None:
                raise ValueError("segmentation_maps are of images, and audio was passed")
            return self._sound(audio, text, sampling_rate, images, options)
        if sampling_rate is not None:
            raise ValueError(f"sampling_rate={sampling_rate} is of audio, of which there is none")
        if isinstance(self.rule, Interleaved) and text is not None:
            prompts = self.rule.prompts(images, text)
            return self.rule(self._tokenizer(), prompts, self._pictures(), options)
        of_images = {name: options.pop(name) for name in OF_PICTURES if name in options}
        arrays = {} if images is None else self._pictures()(images, **of_images)
        if segmentation_maps is not None:
            arrays["labels"] = self._pictures().labels(segmentation_maps)
            if len(arrays["labels"]) != len(arrays.get("pixel_values", ())):
                raise ValueError(
                    f"{len(arrays.get('pixel_values', ()))} images and {len(arrays['labels'])} "
                    "segmentation_maps; pass one for each"
                )
        if text is None:
            for name in options:
                raise TypeError(f"{name!r} is an option of texts, and there is no text")
            return arrays
        texts = [text] if isinstance(text, str) else list(text)
        counts = None if images is None else _counts(images, len(texts))
        if isinstance(self.rule, rules.Prefix) and suffix is not None:
            after = [suffix] if isinstance(suffix, str) else list(suffix)
            return self.rule(self._tokenizer(), texts, arrays, counts, options, after)
        assert not isinstance(self.rule, Interleaved)
        return self.rule(self._tokenizer(), texts, arrays, counts, options)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes the files that it was read from, and those of the tokenizer. A warning says it
        where no file can choose the backend again."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in self.files.items():
            publish_json(folder / name, content)
        if self.image_processor is not None and self._lost:
            kind, backend = self.image_processor.kind, self.image_processor.backend
            message = "%s: no class of %s chooses backend=%r; pass it to load_processor again"
            log.warning(message, folder, kind, backend)
        if self.tokenizer is not None:
            self.tokenizer.save(folder)

    # ------------------------------------------------------------ parts

    @property
    def _name(self) -> str:
        return self.processor_class or "this processor"

    @property
    def sampling_rate(self) -> int:
        """Samples a second of the sound that the model takes.

        Raises:
            ValueError: it takes none.
        """
        return self._audio().sampling_rate

    def _sound(
        self, audio: Any, text: Any, rate: int | None, images: Any, options: dict[str, Any]
    ) -> dict[str, Any]:
        if images is not None:
            raise ValueError("pass images or audio; no model here takes both")
        sound = {name: value for name, value in options.items() if name in OF_SOUND}
        if text is None:
            sound = options
        arrays = self._audio()(audio, rate, **sound)
        if text is None:
            return arrays
        texts = [text] if isinstance(text, str) else list(text)
        of_text = {k: v for k, v in options.items() if k not in OF_SOUND}
        places = [f"text {number}" for number in range(len(texts))]
        for line in check_characters(self._tokenizer(), texts, places, refuse=False):
            log.warning("%s", line)
        return {**arrays, "labels": self._tokenizer().batch(texts, **of_text)["input_ids"]}

    def _pictures(self) -> ImageProcessor:
        if self.image_processor is None:
            raise ValueError(f"{self._name} takes no images")
        return self.image_processor

    def _audio(self) -> AudioProcessor:
        if self.audio_processor is None:
            raise ValueError(f"{self._name} takes no audio")
        return self.audio_processor

    def _tokenizer(self) -> Any:
        if self.tokenizer is None:
            raise ValueError(f"texts need a tokenizer: {self._problem}")
        return self.tokenizer


def _counts(images: Any, texts: int) -> list[int]:
    """How many pictures belong to each text; of a flat list, one by one."""
    if isinstance(images, (list, tuple)) and any(isinstance(x, (list, tuple)) for x in images):
        return [len(x) if isinstance(x, (list, tuple)) else 1 for x in images]
    number = len(named(images))
    return [number] if texts == 1 else [1] * number


# ---------------------------------------------------------------- from files


def _images(described: Described, backend: str | None) -> ImageProcessor | None:
    if described.image is None:
        return None
    named_pil = str(described.image.get("image_processor_type")).endswith("Pil")
    if backend is None and described.nested and not named_pil:
        backend = "torchvision"
    return image_processor(described.image, described.model_type, backend)


def _choosing(described: Described, images: ImageProcessor | None) -> Described | None:
    """What the files say, with another name of the class where theirs does not choose the backend;
    None where no name does. transformers reads all these names."""
    if images is None or _images(described, None) == images:
        return described
    for suffix in ("", "Fast", "Pil") if images.kind != KIND else ():
        name = f"{images.kind}ImageProcessor{suffix}"
        told = described._replace(image={**(described.image or {}), "image_processor_type": name})
        if _images(told, None) == images:
            return told
    return None


def _replace(written: dict[str, Mapping[str, Any]], described: Described) -> None:
    """The files with the settings that took the place of theirs."""
    part, kind = described.image, "image_processor"
    if part is None:
        part, kind = described.audio, "feature_extractor"
    if described.nested:
        written[PROCESSOR] = {**written[PROCESSOR], kind: part}
    elif part is not None:
        written[PREPROCESSOR] = part


def _llava(described: Described, images: ImageProcessor | None) -> Rule:
    own, model = described.own, described.model
    vision = model.get("vision_config") or {}
    patch = own.get("patch_size") or vision.get("patch_size")
    if patch is None:
        raise ValueError("LLaVA's processor needs a patch_size in processor_config.json")
    strategy = own.get("vision_feature_select_strategy")
    strategy = strategy or model.get("vision_feature_select_strategy", "default")
    if strategy not in ("default", "full"):
        raise ValueError(
            f"vision_feature_select_strategy is {strategy!r}; expected 'default' or 'full'"
        )
    more = own.get("num_additional_image_tokens")
    if more is None:  # a class token, which CLIP's tower has and SigLIP's has not
        more = int(bool(vision) and vision.get("model_type", CLIP_TOWER) == CLIP_TOWER)
    token = own.get("image_token") or rules.IMAGE
    return rules.Repeated(patch, more - (strategy == "default"), token)


def _paligemma(described: Described, images: ImageProcessor | None) -> Rule:
    length = images.sequence if images is not None else None
    if length is None:
        vision = described.model.get("vision_config") or {}
        length = described.own.get("image_seq_length") or vision.get("num_image_tokens")
    if length is None:
        raise ValueError("PaliGemma's image processor needs an image_seq_length")
    return rules.Prefix(length)


def _blip2(described: Described, images: ImageProcessor | None) -> Rule:
    number = described.own.get("num_query_tokens", described.model.get("num_query_tokens"))
    return rules.Queries(number)


def _idefics(described: Described, images: ImageProcessor | None) -> Rule:
    return Interleaved(described.own.get("add_end_of_utterance_token"))


def _plain(types: bool = True, **options: Any) -> Callable[..., Rule]:
    return lambda described, images: rules.Plain(options, types)


RULES: Mapping[str, tuple[str, Callable[[Described, ImageProcessor | None], Rule]]] = {
    "llava": ("LlavaProcessor", _llava),
    "paligemma": ("PaliGemmaProcessor", _paligemma),
    "blip": ("BlipProcessor", _plain(types=False)),
    "blip-2": ("Blip2Processor", _blip2),
    "idefics": ("IdeficsProcessor", _idefics),
    # SigLIP was trained with texts that are filled up: it has no mask of what fills them.
    "siglip": ("SiglipProcessor", _plain(padding="max_length")),
    "siglip2": ("Siglip2Processor", _plain(padding="max_length", truncation=True, max_length=64)),
}
"""The type of a model -> the class of its processor, and what makes its rule."""


def _rule(described: Described, images: ImageProcessor | None) -> Rule:
    """The rule of the processor's class, or of the model's type where no file names a class."""
    by_class = dict(RULES.values())
    make = by_class.get(described.processor or "")
    if make is None and described.processor is None:
        make = RULES.get(described.model_type or "", ("", None))[1]
    return rules.Plain() if make is None else make(described, images)


def rule_of(model: Any, processor: Processor) -> Rule:
    """Where texts of a model get the tokens of pictures, by its config and the processor's files.

    Raises:
        ValueError: neither says how many tokens a picture has.
    """
    own = dict(processor.files.get(PROCESSOR, {}))
    described = Described(None, None, False, own, None, model.to_dict(), {})
    return _rule(described, processor.image_processor)
