"""Makes the fixtures of these tests: a tiny directory of sentence-transformers with random weights,
and what that library and PyTorch make of it.

    python tests/embedding/make_fixtures.py    (needs the extra `parity` and sentence-transformers)
"""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import losses, modules
from sentence_transformers.sentence_transformer.losses.matryoshka import shrink
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

HERE = Path(__file__).parent / "sentences"
TEXTS = ["The cat sat on the mat.", "a dog", "the dog runs fast and slow and " * 9, "x", "x"]
MODES = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
WIDTH = 12


def tokenizer():
    """WordPiece of a few words and all letters."""
    words = "[PAD] [UNK] [CLS] [SEP] [MASK] the cat dog sat on mat runs and query : . ##s".split()
    letters = "abcdefghijklmnopqrstuvwxyz"
    words += [*letters, *("##" + letter for letter in letters if letter != "s")]
    inner = Tokenizer(models.WordPiece({w: n for n, w in enumerate(words)}, unk_token="[UNK]"))
    inner.normalizer = normalizers.BertNormalizer(lowercase=True)
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    return PreTrainedTokenizerFast(tokenizer_object=inner, model_max_length=24, **names)


def randomised(module, std=0.3):
    """The module with random parameters; scales of norms lie around one."""
    for name, leaf in module.named_parameters():
        scale = "norm" in name.lower() and name.endswith("weight")
        torch.nn.init.normal_(leaf, mean=1.0 if scale else 0.0, std=0.2 if scale else std)
    return module


def directory(plain):
    """Writes the transformer, then the whole directory around it."""
    words = tokenizer()
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=20,
        max_position_embeddings=24,
    )
    randomised(BertModel(config)).save_pretrained(plain)
    words.save_pretrained(plain)
    parts = [
        modules.Transformer(plain),
        modules.Pooling(WIDTH, ("cls", "mean"), include_prompt=False),
        randomised(modules.Dense(24, 8, activation_function=torch.nn.GELU(), use_residual=True)),
        randomised(modules.LayerNorm(8)),
        modules.Dropout(0.1),
        modules.Normalize(),
    ]
    model = SentenceTransformer(modules=parts, prompts={"query": "query: "})
    model.save_pretrained(str(HERE))
    (HERE / "README.md").unlink()
    for file in HERE.rglob("*.safetensors"):
        file.chmod(0o644)


def pooled():
    """Every pooling mode, of rows padded on the right and on the left."""
    x = torch.randn(3, 7, 5)
    masks = {"right": [7, 4, 2], "left": [7, 5, 3]}
    outputs = {"pool_x": x.numpy()}
    for side, lengths in masks.items():
        mask = torch.tensor([[n < length for n in range(7)] for length in lengths]).int()
        mask = mask if side == "right" else mask.flip(1)
        outputs[f"pool_mask_{side}"] = mask.numpy()
        for mode in MODES:
            for skip in (0, 2):
                layer = modules.Pooling(5, mode, include_prompt=False)
                fields = {"token_embeddings": x, "attention_mask": mask, "prompt_length": skip}
                key = f"pool_{mode}_{side}_{skip}"
                outputs[key] = layer(fields)["sentence_embedding"].numpy()
    return outputs


def compared(model):
    """Similarities and losses of random vectors."""
    anchor, positive, negative = (torch.randn(5, 8) for _ in range(3))
    outputs = {"anchor": anchor, "positive": positive, "negative": negative}
    for how in ("cosine", "dot", "euclidean", "manhattan"):
        model.similarity_fn_name = how
        outputs[f"{how}_all"] = model.similarity(anchor, positive[:3])
        outputs[f"{how}_paired"] = model.similarity_pairwise(anchor, positive)
    vectors = [anchor, positive, negative]
    for part in vectors:
        part.requires_grad_()
    ranking = losses.MultipleNegativesRankingLoss(model)
    loss = ranking.compute_loss_from_embeddings(vectors, None)
    outputs["contrastive"] = loss
    outputs["contrastive_gradient"] = torch.autograd.grad(loss, anchor)[0]
    outputs["matryoshka"] = sum(
        ranking.compute_loss_from_embeddings([shrink(part, dim) for part in vectors], None)
        for dim in (8, 4, 2)
    )
    return {name: value.detach().numpy() for name, value in outputs.items()}


def main():
    torch.manual_seed(0)
    shutil.rmtree(HERE, ignore_errors=True)
    with tempfile.TemporaryDirectory() as plain:
        directory(plain)
        averaged = SentenceTransformer(plain).encode(TEXTS)
    model = SentenceTransformer(str(HERE))
    outputs = {
        "texts": model.encode(TEXTS, batch_size=2),
        "texts_query": model.encode(TEXTS, prompt_name="query"),
        "texts_cut": model.encode(TEXTS, truncate_dim=3, normalize_embeddings=True),
        "texts_cut_only": model.encode(TEXTS, truncate_dim=3),
        "texts_plain": averaged,
        **pooled(),
        **compared(model),
    }
    np.savez_compressed(HERE.parent / "outputs.npz", **outputs)


if __name__ == "__main__":
    main()
