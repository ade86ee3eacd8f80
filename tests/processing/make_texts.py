"""Writes what the processors of transformers make of the cases of `text_cases.py`.

python tests/processing/make_texts.py      # torch, Pillow and transformers
"""

import json
import tempfile
from pathlib import Path

import numpy as np
import pictures
import text_cases
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers.models.auto.image_processing_auto import get_image_processor_class_from_name

HERE = Path(__file__).parent
SPECIAL = ["<pad>", "<s>", "</s>", "<unk>", "<image>", "<fake_token_around_image>"]
WORDS = [*SPECIAL, "\n", *sorted({*text_cases.A.split(), *text_cases.B.split()})]


def tokenizer(kind):
    """A small tokenizer that puts <s> in front of a text, except PaliGemma's."""
    inner = Tokenizer(models.WordLevel({w: n for n, w in enumerate(WORDS)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(" ", "removed"), pre_tokenizers.Split("\n", "isolated")]
    )
    if kind != "PaliGemma":
        inner.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", 1)]
        )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        extra_special_tokens=["<image>", "<fake_token_around_image>"],
        padding_side="left" if kind in ("Llava", "Blip2") else "right",
        model_max_length=20,
        model_input_names=["input_ids", "attention_mask"],
    )


def main():
    images = pictures.pillows()
    saved, made = {}, {}
    for case, (texts, names, options) in text_cases.CASES.items():
        kind = case.split("-")[0]
        image_kind, settings = text_cases.IMAGES[kind]
        image_class = get_image_processor_class_from_name(f"{image_kind}ImageProcessorPil")
        made_of = image_class(**settings)
        own = text_cases.OWN.get(case, text_cases.OWN.get(kind, {}))
        one = tokenizer(kind)
        with tempfile.TemporaryDirectory() as folder:
            one.save_pretrained(folder)
            files = {f.name: f.read_text() for f in Path(folder).glob("*.json")}
            saved[kind] = {name: json.loads(text) for name, text in files.items()}
        processor = getattr(transformers, f"{kind}Processor")(made_of, one, **own)
        call = {"text": text_cases.with_pictures(texts, images)}
        if names is not None:
            call["images"] = text_cases.pictures_of(names, images)
        if kind == "Siglip2":  # whose processor passes its own settings, not those of the file
            options = {**options, "images_kwargs": settings}
        out = processor(**call, **options)
        made[case] = {
            name: np.asarray(out[name]).tolist()
            for name in out
            if name not in ("pixel_values", "spatial_shapes", "pixel_attention_mask")
        }
        made[case]["shape"] = (
            list(np.asarray(out["pixel_values"]).shape) if "pixel_values" in out else None
        )
    (HERE / "texts.json").write_text(json.dumps({"tokenizers": saved, "cases": made}) + "\n")
    print(len(made), (HERE / "texts.json").stat().st_size)


if __name__ == "__main__":
    main()
