"""Makes the fixtures of test_gradients.py: what PyTorch says of one step of training.

    python tests/families/make_fixtures.py [CASE ...]       (needs the extra `parity`)

For a conformance case of each family: the loss, the gradient of the loss by every parameter, and
every parameter after one step of AdamW, in float32, without dropout. Names are PyTorch's.
"""

import json
import math
import sys
from pathlib import Path

import numpy as np
import torch
import transformers
from diffusers import DiTTransformer2DModel
from safetensors.torch import load_file
from torch import nn
from transformers.core_model_loading import revert_weight_conversion

HERE = Path(__file__).parent
CASES = HERE.parent / "conformance" / "cases"
CHOSEN = (
    *("bert-pretraining", "roberta-mlm", "electra-discriminator", "gpt2", "llama"),
    *("t5-v1.1", "bart", "attention-is-all-you-need", "gru-bahdanau", "encoder-decoder"),
    *("mbart", "m2m-100", "marian", "pegasus", "blenderbot", "blenderbot-small"),
    *("modernbert-mlm", "longformer-mlm", "big-bird-mlm"),
    *("distilbert-mlm", "xlm-roberta-tokens", "xlm-roberta-xl-tokens", "camembert-tokens"),
    *("mpnet-mlm", "albert-pretraining", "roformer-mlm"),
    *("deberta-mlm", "deberta-v2-mlm"),
    *("mt5", "umt5", "switch", "longt5-tglobal"),
    *("led", "nomic-bert-mlm", "esm-mlm"),
    *("vit-classify", "vit-masked", "clip-loss", "whisper"),
    *("deit-classify", "beit-classify", "dinov2-swiglu", "vit-mae-normalised"),
    *("dinov2-registers-classify", "beit-segment-beside"),
    *("siglip", "siglip2", "blip-caption", "vision-encoder-decoder", "vision-text-dual-encoder"),
    *("wav2vec2-pretraining", "wav2vec2-adapted", "wav2vec2-xvector", "hubert-ctc"),
    *("ast-classify", "speech-encoder-decoder"),
    *("gemma", "llava", "idefics-intervals", "opt", "paligemma", "blip-2"),
    *("mistral", "qwen2", "qwen3", "gemma2", "gemma3-text", "phi3", "olmo2", "granite"),
    *("smollm3", "stablelm-parallel", "starcoder2"),
    *("mixtral", "qwen2-moe", "qwen3-moe", "gpt-oss", "deepseek-v3"),
    *("gpt-neox", "gptj", "bloom", "gpt-neo", "falcon-groups", "phi", "xglm", "codegen"),
    *("openai-gpt", "decision-transformer", "dit-sigma"),
    *("perceiver-mlm", "perceiver-conv", "perceiver-blocks", "perceiver-learned"),
    *(
        "swin-classify",
        "swinv2-classify",
        "convnext-classify",
        "convnextv2-classify",
        "resnet-classify",
    ),
)
# eps is larger than usual, because key biases have no gradient but rounding, which must not count
ADAMW = dict(lr=1e-3, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.1)


class Translator(nn.Module):
    """The 2017 Transformer in torch's own modules; names as in the checkpoint."""

    def __init__(self, vocab_size, module=None, **settings):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, settings["d_model"])
        self.transformer = nn.Transformer(**settings, batch_first=True)

    def embed(self, ids):
        width = self.embedding.embedding_dim
        pair = torch.arange(0, width, 2) / width
        angle = torch.arange(ids.shape[1])[:, None] / 10000**pair
        waves = torch.stack([angle.sin(), angle.cos()], -1).flatten(1)
        return self.embedding(ids) * math.sqrt(width) + waves

    def forward(self, source_ids, source_mask, target_ids):
        later = torch.ones(target_ids.shape[1], target_ids.shape[1], dtype=torch.bool).triu(1)
        padding = source_mask == 0
        hidden = self.transformer(
            self.embed(source_ids),
            self.embed(target_ids),
            tgt_mask=later,
            src_key_padding_mask=padding,
            memory_key_padding_mask=padding,
        )
        loss = nn.functional.cross_entropy(
            (hidden @ self.embedding.weight.T).flatten(0, 1), target_ids.flatten()
        )
        return {"loss": loss}


class RecurrentTranslator(nn.Module):
    """GRUs and additive attention in torch's own modules; names as in the checkpoint."""

    def __init__(self, vocab_size, embedding_size, hidden_size, layers, module=None):
        super().__init__()
        E, H = embedding_size, hidden_size
        self.source, self.target = nn.Embedding(vocab_size, E), nn.Embedding(vocab_size, E)
        self.encoder = nn.GRU(E, H, layers, batch_first=True, bidirectional=True)
        self.bridge = nn.Linear(H, H)
        self.attention = nn.ModuleDict(
            {
                "query": nn.Linear(H, H, bias=False),
                "key": nn.Linear(2 * H, H),
                "score": nn.Linear(H, 1, bias=False),
            }
        )
        self.decoder = nn.GRUCell(E + 2 * H, H)
        self.output = nn.Linear(3 * H + E, vocab_size)

    def forward(self, source_ids, source_mask, target_ids):
        packed = nn.utils.rnn.pack_padded_sequence(
            self.source(source_ids), source_mask.sum(1), batch_first=True, enforce_sorted=False
        )
        states, last = self.encoder(packed)
        states, _ = nn.utils.rnn.pad_packed_sequence(states, batch_first=True)
        closed = source_mask[:, : states.shape[1], None] == 0
        hidden, keys, logits = torch.tanh(self.bridge(last[-1])), self.attention["key"](states), []
        for word in self.target(target_ids).unbind(1):
            query = self.attention["query"](hidden)[:, None]
            scores = self.attention["score"](torch.tanh(query + keys))
            context = (scores.masked_fill(closed, -torch.inf).softmax(1) * states).sum(1)
            hidden = self.decoder(torch.cat([word, context], 1), hidden)
            logits.append(self.output(torch.cat([hidden, context, word], 1)))
        logits = torch.stack(logits, 1).flatten(0, 1)
        return {"loss": nn.functional.cross_entropy(logits, target_ids.flatten())}


class Denoiser(DiTTransformer2DModel):
    """Of diffusers, with the loss of the noise that was added."""

    def forward(self, labels, **arguments):
        noise = super().forward(**arguments).sample[:, : labels.shape[1]]
        return {"loss": nn.functional.mse_loss(noise, labels)}


MODULES = {"Translator": Translator, "RecurrentTranslator": RecurrentTranslator}


def on_disk(model, values):
    """Tensors by the names of the running model, as the model's files name and cut them."""
    is_family = isinstance(model, transformers.PreTrainedModel)
    return revert_weight_conversion(model, values) if is_family else values


def load(folder, case):
    """The model of a case, without dropout."""
    if case["library"] == "diffusers":
        return Denoiser.from_pretrained(folder).eval()
    if case["library"] != "transformers":
        settings = json.loads((folder / "config.json").read_text())
        model = MODULES[settings["module"]](**settings)
        model.load_state_dict(load_file(folder / "model.safetensors"))
        return model.eval()
    cls = getattr(transformers, case["architecture"])
    model = cls.from_pretrained(folder, dtype=torch.float32)
    parameters = dict(cls(model.config).named_parameters())
    for name, parameter in model.named_parameters():  # reading a file forgets what is not learned
        parameter.requires_grad_(parameters[name].requires_grad)
    return model.eval()


def loss_of(out, arguments):
    """The loss; of a model of trajectories, which has none, the squares of what it predicts."""
    if "action_preds" not in out:
        return out["loss"]
    real = arguments["attention_mask"][..., None]
    predicted = (out[name] for name in ("action_preds", "state_preds", "return_preds"))
    return sum(((x * real) ** 2).mean() for x in predicted)


def main():
    for name in sys.argv[1:] or CHOSEN:
        folder = CASES / name
        case = json.loads((folder / "case.json").read_text())
        model = load(folder, case)
        inputs = dict(np.load(folder / "inputs.npz"))
        arguments = {key: torch.tensor(inputs[key]) for key in case["forward"]["inputs"]}
        optimizer = torch.optim.AdamW(model.parameters(), **ADAMW)
        flags = {key: x for key, x in case["forward"]["kwargs"].items() if key == "return_loss"}
        loss = loss_of(model(**arguments, **flags), arguments)
        loss.backward()
        outputs = {"loss": loss.detach().numpy()}
        stored = load_file(*folder.glob("*.safetensors"))
        learned = [  # what has no gradient and is not stored is a formula's (Marian's sinusoids)
            (path, parameter)
            for path, parameter in model.named_parameters()
            if parameter.grad is not None
            or (
                parameter.requires_grad
                and any(n in stored for n in on_disk(model, {path: parameter}))
            )
        ]
        for _, parameter in learned:
            if parameter.grad is None:  # read by no loss (BigBird's pooler)
                parameter.grad = torch.zeros_like(parameter)
        gradients = {path: parameter.grad.clone() for path, parameter in learned}
        optimizer.step()
        after = {path: parameter.detach() for path, parameter in learned}
        for kind, values in (("gradient", gradients), ("after", after)):
            named = on_disk(model, values).items()
            outputs |= {f"{kind}/{path}": value.numpy() for path, value in named}
        np.savez(HERE / "fixtures" / f"{name}.npz", **outputs)


if __name__ == "__main__":
    main()
