"""nanoGPT's small run on a CPU: characters of Tiny Shakespeare.

The text is not part of this project; pass it as --data.path.

Source:    github.com/karpathy/nanoGPT, README, "I only have a macbook": 4 layers, 4 heads, width
           128, context 64, batch 12, 2000 steps, no dropout; published loss 1.88.
Command:   python -m train.pretrain configs/tiny_shakespeare_char.py --data.path input.txt
Hardware:  two CPU cores, shared with five to ten other processes.
Time:      214 s of processor time (340 s on the clock, of which others had the larger part).
Result:    1.895 nats per character on all of the last tenth, 2026-11-20; nanoGPT's own run of this
           setting on two such cores ended at 1.886 (an estimate from 240 rows).
"""

from transformers_jax.data.config import Data
from transformers_jax.models.gpt2 import GPT2Config
from transformers_jax.optim import AdamW, Cosine
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        model=GPT2Config(
            n_layer=4,
            n_head=4,
            n_embd=128,
            n_positions=64,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
        ),
        # nanoGPT draws crops at random and takes the last tenth of the text for validation
        data=Data(path="input.txt", tokenizer="character", length=64, batch=12, rows="crops"),
        # its train_shakespeare_char.py: beta2 0.99 because a step has few tokens, warm-up 100
        optimizer=AdamW(peak=1e-3, schedule=Cosine(warmup=100), b2=0.99),
        steps=2000,
        evaluation=Evaluation(every=250, batches=20, final_batches=1000),
        sample=Sample(prompt="\n", tokens=63, count=3, top_k=200),
        save_every=1000,
        out="runs/tiny_shakespeare_char",
    )
