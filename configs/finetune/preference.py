"""DPO on a preference that can be counted: first lines of docstrings that begin with "Return ".

Source:    Rafailov et al. 2023; it goes on from configs/finetune/docstrings.py, which goes on from
           the README's GPT in runs/gpt.
Command:   python -m train.finetune configs/finetune/docstrings.py
           python -m train.finetune configs/finetune/preference.py
Data:      generated:preferences: prompts of generated:docstrings, each with two first lines.
Hardware:  two CPU cores, shared with other processes.
Time:      121 s of CPU time from start to report, and 125 s of the run before.
Result:    the chosen answer has the higher reward in 0.961 of the 487 held-out pairs, and in 0.980
           of the 460 of the test split; eval_loss 0.400, of 0.693 before.
           Of the answers to the 487 held-out prompts so many begin with "Return ":

                                       before           after
               the likeliest tokens    333 (68.4 %)     487 (100 %)
               drawn at random         111 (22.8 %)     450 (92.4 %)

           The chosen answers have become likelier (by 1.3 nats each) and the rejected ones less
           so (by 6.4). 2026-11-29, Python 3.11.7.

With a rate of 1e-4 the accuracy is 0.996, but the chosen answers lose 8.2 nats, many answers
repeat the word ("ReturnReturn the"), and only 286 and 340 begin with it and a space.

The first row is counted by

    for run in docstrings preference; do
        transformers-jax predict runs/$run/model --task instruction \\
            --input "generated:preferences[validation]" --text prompt --out $run.jsonl
        grep -c '"Return ' $run.jsonl
    done

and the second by

    prompts = [one["prompt"] for one in TABLES["preferences"]("validation")]  # data.generated
    rows = tokenizer.encode_many(prompts)
    width = max(map(len, rows))
    ids = np.stack([np.pad(row, (width - len(row), 0)) for row in rows])
    mask = np.stack([np.pad(np.ones(len(row), int), (width - len(row), 0)) for row in rows])
    key = jax.random.key(0)
    ids = model.generate(ids, attention_mask=mask, max_new_tokens=12, do_sample=True, key=key)
    sum(text.startswith("Return ") for text in tokenizer.batch_decode(ids[:, width:]))
"""

from transformers_jax.data.config import Table
from transformers_jax.optim import AdamW, Linear
from transformers_jax.tasks import DPO
from transformers_jax.training.config import Evaluation, Sample, TrainConfig


def config() -> TrainConfig:
    """The run."""
    return TrainConfig(
        init_from="runs/docstrings",
        objective=DPO(beta=0.1),
        data=Table(train="generated:preferences", batch=32),
        optimizer=AdamW(peak=2e-5, schedule=Linear(warmup=0.1)),
        epochs=1,
        evaluation=Evaluation(batches=1_000_000, per_epoch=1),
        sample=Sample(count=0),
        keep_best=True,
        out="runs/preference",
    )
