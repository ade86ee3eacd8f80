"""Writes scores.npz: what PyTorch's transformers says of continuations, of a long text, and of the
embeddings that a score is due to.

    python tests/scoring/make_scores.py    (needs torch, transformers 5; not run by tests)
"""

import pathlib

import numpy as np
import torch
import transformers

HERE = pathlib.Path(__file__).parent
MODELS = HERE.parent / "generation" / "parity"
CASES = HERE.parent / "conformance" / "cases"
PLACES = {"gpt2": MODELS / "gpt2", "t5": MODELS / "t5", "gemma": CASES / "gemma"}
LENGTH, STRIDES = 16, (1, 5, 8, 15)


def pairs(vocabulary, rng):
    """Contexts and continuations of uneven lengths."""
    sizes = [(1, 1), (3, 2), (9, 1), (2, 7), (11, 5), (6, 3)]
    return [[rng.integers(3, vocabulary - 2, size) for size in both] for both in sizes]


def log_probs(model, context, continuation):
    """(log p of each token, whether each is the likeliest)."""
    before, after = (torch.tensor(side)[None] for side in (context, continuation))
    with torch.no_grad():
        if model.config.is_encoder_decoder:
            logits = model(input_ids=before, labels=after).logits
        else:
            logits = model(torch.cat([before, after], 1)).logits[:, len(context) - 1 : -1]
    logs = torch.log_softmax(logits.double(), -1)[0]
    found = logs[torch.arange(len(continuation)), after[0]]
    return found.numpy(), (logs.argmax(-1) == after[0]).numpy()


def greedy(model, context, count):
    """What the model writes after (or in answer to) a context."""
    before = torch.tensor(context)[None]
    settings = dict(max_new_tokens=count, min_new_tokens=count, do_sample=False)
    written = model.generate(before, attention_mask=torch.ones_like(before), **settings)
    return written[0, 1 if model.config.is_encoder_decoder else len(context) :].numpy()


def strided(model, ids, length, stride):
    """(the sum of log p, the count), as the documentation of transformers computes them: labels of
    -100 where a token was scored already."""
    total, count, done = 0.0, 0, 0
    for start in range(0, len(ids), stride):
        end = min(start + length, len(ids))
        window = torch.tensor(ids[start:end])[None]
        labels = window.clone()
        labels[:, : done - start] = -100
        with torch.no_grad():
            loss = model(window, labels=labels).loss.double().item()
        scored = int((labels[:, 1:] != -100).sum())
        total, count, done = total - loss * scored, count + scored, end
        if end == len(ids):
            break
    return total, count


def attributions(model, context, continuation, of):
    """Input x gradient of the score of each token, for the tokens of each side."""
    after = torch.tensor(continuation)
    sides = {"": context}
    if model.config.is_encoder_decoder:
        start = model.config.decoder_start_token_id
        sides["decoder_"] = np.concatenate([[start], continuation[:-1]])
    else:
        sides[""] = np.concatenate([context, continuation])[:-1]
    table = model.get_input_embeddings()
    vectors = {name: table(torch.tensor(ids)[None]).detach() for name, ids in sides.items()}
    for each in vectors.values():
        each.requires_grad_(True)
    logits = model(**{f"{name}inputs_embeds": x for name, x in vectors.items()}).logits[0]
    logits = logits[-len(after) :]
    scores = torch.log_softmax(logits, -1) if of == "log_prob" else logits
    rows = {name: [] for name in vectors}
    for number, token in enumerate(after):
        gradients = torch.autograd.grad(
            scores[number, token], list(vectors.values()), retain_graph=True
        )
        for (name, x), gradient in zip(vectors.items(), gradients):
            rows[name].append((x * gradient).sum(-1)[0].detach().numpy())
    return {name: np.stack(each) for name, each in rows.items()}


def main():
    arrays = {}
    for model_number, (name, place) in enumerate(PLACES.items()):
        rng = np.random.default_rng(model_number)
        whole = transformers.AutoModelForSeq2SeqLM if name == "t5" else None
        loader = whole or transformers.AutoModelForCausalLM
        model = loader.from_pretrained(place, dtype=torch.float32).eval()
        vocabulary = model.config.vocab_size
        both = pairs(vocabulary, rng)
        both[2][1] = greedy(model, both[2][0], 3)
        both[5][1] = greedy(model, both[5][0], 2)
        for number, (context, continuation) in enumerate(both):
            at = f"{name}/pair/{number}"
            arrays[f"{at}/context"], arrays[f"{at}/continuation"] = context, continuation
            arrays[f"{at}/log_probs"], arrays[f"{at}/greedy"] = log_probs(
                model, context, continuation
            )
        for of in ("log_prob", "logit"):
            for side, found in attributions(model, *both[4], of).items():
                arrays[f"{name}/{side}{of}"] = found
        if name == "t5":
            continue
        text = rng.integers(3, vocabulary - 2, 45)
        arrays[f"{name}/text"] = text
        for stride in STRIDES:
            arrays[f"{name}/stride/{stride}"] = np.array(strided(model, text, LENGTH, stride))
    np.savez_compressed(HERE / "scores.npz", **arrays)


if __name__ == "__main__":
    main()
