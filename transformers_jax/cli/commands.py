"""What each command does: a few lines, which call the package.

The docstring of a command is its help, and says what may be typed (flags.py): what it does; a line
for each flag, or several alike, under Hugging Face's names; and what else is to be said.
"""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from transformers_jax.cli import texts
from transformers_jax.runs.pretrain import keep_compiled_programs

GENERATION = """max_new_tokens min_new_tokens top_k num_beams num_return_sequences
    no_repeat_ngram_size temperature top_p repetition_penalty length_penalty do_sample""".split()
"""The settings of generation among the flags of `generate`."""


def print_json(values: Any) -> int:
    """Prints values for programs; returns the status of success."""
    print(json.dumps(values, indent=2))
    return 0


def pretrain(arguments: list[str]) -> int:
    """Train a model from a config, as python -m train.pretrain does.

    config                      a Python file with config(), or a run's config.json

    transformers-jax pretrain CONFIG --help lists every setting.
    """
    from transformers_jax.runs.pretrain import main as train

    return train(arguments, program="transformers-jax pretrain")


def generate(options: Namespace) -> int:
    """Continue prompts, or answer them, all as one batch.

    model                       a directory, a run of pretraining, or a hub id
    --prompt TEXT...            may be given several times
    --ids '5 17 3'...           a prompt as token ids
    --max-new-tokens, --min-new-tokens, --num-beams, --num-return-sequences N
    --no-repeat-ngram-size, --top-k N
    --temperature, --top-p, --repetition-penalty, --length-penalty X
    --do-sample                 draw tokens instead of taking the likeliest
    --seed N=0                  of --do-sample; same seed, same text
    --dtype NAME=float32        of the parameters: float32, bfloat16, auto, ...
    --ignore KEY...             accept this unknown key of config.json
    --json                      a JSON object a line: prompt, text

    Without --prompt, every line of standard input is a prompt.
    """
    import jax
    import jax.numpy as jnp
    import numpy as np

    import transformers_jax as tj

    keep_compiled_programs()
    folder = texts.model_folder(options.model)
    tokenizer = None if options.ids else texts.read_tokenizer(folder)
    prompts = options.ids or options.prompt or texts.read_prompts()
    if not all(texts.encode(tokenizer, prompt) for prompt in prompts):
        raise ValueError("a prompt is empty; give at least one token")
    model = tj.from_pretrained(folder, dtype=options.dtype, ignore=options.ignore)
    rows = [texts.read_by(model, tokenizer, prompt) for prompt in prompts]
    width, continues = max(map(len, rows)), not model.is_encoder_decoder
    fill = lambda row: (width - len(row), 0) if continues else (0, width - len(row))
    padding = model.config.pad_token_id or 0
    settings = {name: getattr(options, name) for name in GENERATION if getattr(options, name)}
    generated = tj.generate(
        model,
        input_ids=jnp.array([np.pad(row, fill(row), constant_values=padding) for row in rows]),
        attention_mask=jnp.array([np.pad([1] * len(row), fill(row)) for row in rows]),
        key=jax.random.key(options.seed) if options.do_sample else None,
        **settings,
    )
    copies, count = options.num_return_sequences or 1, len(generated)
    for number, row in enumerate(np.asarray(generated).tolist()):
        prompt, before = prompts[number // copies], rows[number // copies] if continues else []
        new = texts.until_end(model, row[width if continues else 1 :])
        text = texts.continued(tokenizer, before, new)
        if options.json:
            print(json.dumps({"prompt": prompt, "text": text}))
        else:
            heading = f"--- {number + 1}/{count}\n" if count > 1 else ""
            print(f"{heading}{prompt if continues else ''}{text}")
    return 0


def inspect(options: Namespace) -> int:
    """Show what a checkpoint or a config is: tables, graphs, attention maps.

    model                       a directory, a config.json, a run of pretraining, or a hub id
    --head NAME                 show the model with this head (default: that of the config)
    --ignore KEY...             accept this unknown key of config.json
    --out DIR                   draw the attention graphs as PNG files into DIR
    --text TEXT                 draw the attention maps over this text, too
    --ids '5 17 3'              the text as token ids
    --target TEXT               what the decoder of an encoder-decoder reads
    --json                      the description as JSON

    Exits with 1 if a checkpoint does not fit its family.
    """
    from transformers_jax.inspection import tables
    from transformers_jax.inspection.description import describe, to_json

    source = texts.model_source(options.model)
    description = describe(source, head=options.head, name=options.model, ignore=options.ignore)
    if options.json:
        print(to_json(description))
    else:
        tables.show(description, tables.console())
    if options.out or options.text is not None or options.ids is not None:
        name = Path(options.model).resolve().name.split(".")[0]
        for path in draw(source, options, Path(options.out or f"inspect-{name}")):
            print(f"wrote {path}", file=sys.stderr if options.json else sys.stdout)
    if not description.fits:
        wrong = ", ".join(f"{len(names)} {kind}" for kind, names in description.report.items())
        raise ValueError(f"{options.model} does not fit {description.architecture}: {wrong}")
    return 0


def draw(source: Any, options: Namespace, out: Path) -> list[Path]:
    """The graphs of a model and, over a text, its attention maps, as PNG files."""
    import jax
    import numpy as np

    import transformers_jax as tj
    from transformers_jax.inspection import pictures
    from transformers_jax.inspection.description import find_config, head_of
    from transformers_jax.models.base import Plan

    config, weights = find_config(source, ignore=options.ignore, head=options.head)
    head = head_of(config, options.head)
    if options.text is None and options.ids is None:
        return pictures.draw_graphs(Plan(config, head).build(), out)
    head = "none" if head == "multiple_choice" else head
    key = jax.random.key(0)  # of a head that the file lacks; attention does not depend on it
    if weights is None:
        print("these weights are random: a config has none", file=sys.stderr)
        model = tj.from_config(config, head=head, key=key)
    else:
        name = config.architecture(head)
        model = tj.from_pretrained(weights, head=name, key=key, ignore=options.ignore)
    if "input_ids" not in model.arguments():
        raise ValueError(f"{config.model_type} reads no tokens; leave --text and --ids out")
    tokenizer = texts.read_tokenizer(source) if options.ids is None else None
    ids = texts.read_by(model, tokenizer, options.text if options.ids is None else options.ids)
    spell = lambda row: [pictures.show_token(texts.decode(tokenizer, [token])) for token in row]
    inputs: dict[str, Any] = dict(input_ids=np.array([ids]))
    labels = {"stack": spell(ids)}
    if model.is_encoder_decoder:
        answer = texts.decoder_ids(model, inputs, tokenizer, options)
        inputs["decoder_input_ids"] = np.array([answer])
        labels = {"encoder": spell(ids), "decoder": spell(answer)}
    fields = model(**inputs, output_attentions=True)
    title = f"{Path(options.model).name} ({config.model_type})"
    graphs = pictures.draw_graphs(model, out, labels)
    return [*graphs, *pictures.draw_maps(fields, out, labels, title)]


def convert(options: Namespace) -> int:
    """Write a checkpoint as PyTorch transformers writes it today, and say what changed.

    source                      a directory, a run of pretraining, or a hub id
    target                      a new directory
    --dtype NAME=auto           of what is written; auto: as it is stored
    --head NAME                 a head, or a Hugging Face class name (default: the config's)
    --ignore KEY...             accept this unknown key of config.json
    --max-shard-size SIZE=50GB  such as 5GB
    --seed N                    draw a head that the source lacks from this seed
    --overwrite                 write into a directory that is not empty
    --all                       list every change, not the first ten of a kind
    --json                      what changed, as JSON

    Weights are loaded strictly; nothing is unpickled.
    """
    import jax

    from transformers_jax.inspection.conversion import convert as write

    key = None if options.seed is None else jax.random.key(options.seed)
    done = write(
        texts.model_folder(options.source),
        options.target,
        head=options.head,
        dtype=options.dtype,
        max_shard_size=options.max_shard_size,
        key=key,
        overwrite=options.overwrite,
        ignore=options.ignore,
    )
    if options.json:
        return print_json(done.to_dict())
    print(f"wrote {options.target}: {done.tensors} tensors, head {done.head}")
    print(f"files: {', '.join(done.files)}")
    changes = {
        "copied": done.copied,
        "renamed": [f"{old} -> {new}" for old, new in done.renamed],
        "changed dtype": [f"{name}: {old} -> {new}" for name, old, new in done.retyped],
        "not written (not part of this model)": done.dropped,
        "drawn anew": done.drawn,
        "config": [f"{name}: {old!r} -> {new!r}" for name, old, new in done.config],
    }
    for kind, lines in changes.items():
        if lines:
            print(f"{kind} ({len(lines)}):")
            shown = lines if options.all else lines[:10]
            print("\n".join(f"  {line}" for line in shown))
            if len(shown) < len(lines):
                print(f"  and {len(lines) - len(shown)} more (--all)")
    if not any((done.renamed, done.retyped, done.dropped, done.drawn)):
        print("every tensor has the name and the dtype that it had")
    return 0


def check_checkpoint(options: Namespace) -> int:
    """Compare every leaf of the checkpoints of a run with what was saved.

    folder DIR                  a run, its checkpoints, or one step
    --json                      as JSON: {step: {leaf: ...}}

    Needs no model and writes nothing. Exits with 1 if anything is wrong.
    """
    from transformers_jax.training.recorded import find_steps, verify_step

    steps = {path: verify_step(path) for path in find_steps(options.folder)}
    wrong = [path for path, leaves in steps.items() if not all(x.good for x in leaves.values())]
    if options.json:
        dicts = lambda leaves: {name: leaf.to_dict() for name, leaf in leaves.items()}
        print_json({path.name: dicts(leaves) for path, leaves in steps.items()})
    for path, leaves in steps.items() if not options.json else ():
        print(f"{path}: {'damaged' if path in wrong else 'ok'}")
        width = max(map(len, leaves))
        wide = max(len(leaf.array) for leaf in leaves.values())
        for name, leaf in leaves.items():
            print(f"  {name:<{width}}  {leaf.array:<{wide}}  {leaf.verdict}")
    if wrong:
        names = ", ".join(path.name for path in wrong)
        several = f"steps {names} are" if len(wrong) > 1 else f"step {names} is"
        raise ValueError(f"{options.folder}: {several} damaged; --resume auto passes over them")
    return 0


def env(options: Namespace) -> int:
    """Print versions, devices and folders, for a report of a bug.

    --json                      as JSON
    """
    from transformers_jax.inspection.environment import environment

    sections = environment()
    if options.json:
        return print_json(sections)
    width = max(len(name) for rows in sections.values() for name in rows)
    for section, rows in sections.items():
        print(f"{section}:" if rows else f"{section}: none")
        for name, value in rows.items():
            print(f"  {name:<{width}}  {value}")
    return 0


def runs(options: Namespace) -> int:
    """List runs of pretraining: how far they are, and how good.

    folders DIR*                runs, or folders of runs (default: runs)
    --sort FIELD                such as eval_loss, step, parameters (default: when)
    --json                      all that is known, as JSON
    """
    import dataclasses

    from transformers_jax.runs import summary

    folders = options.folders or ["runs"]
    if not options.folders and not Path("runs").is_dir():
        raise ValueError("there is no folder runs here; name the folders that hold runs")
    rows = [summary.summarise(folder) for folder in summary.find_runs(folders)]
    rows = summary.sort_runs(rows, options.sort)
    if options.json:
        print_json([dataclasses.asdict(run) for run in rows])
    elif rows:
        summary.show(rows)
    else:
        print(f"no run in {', '.join(folders)}")
    return 0


def report(options: Namespace) -> int:
    """Write a page about a run, or about several side by side.

    runs RUN+                   a run, or a folder of runs
    --out FILE                  a page: .html (pictures inside) or .md (beside it)
    --scaling                   fit scaling laws to the runs instead

    Without --out: report.md in the folder of the one run, or report.html here.
    """
    from transformers_jax.runs import compare, scaling
    from transformers_jax.runs.report import write_report
    from transformers_jax.runs.summary import find_runs

    folders = find_runs(options.runs)
    if options.scaling:
        file = scaling.write_scaling(folders, Path(options.out or "scaling.md"))
    elif len(folders) == 1 and not options.out:
        file = write_report(folders[0])
    else:
        file = compare.write_page(folders, Path(options.out or "report.html"))
    print(f"wrote {file}")
    return 0


def tokenize(options: Namespace) -> int:
    """Make a source token ids once, in a folder that data.path reads.

    source    a text, folder, pattern, .jsonl, .parquet, python_docs, tfds:NAME, hf:NAME
    --tokenizer PATH_OR_KIND!  a file or folder, or byte, character, bpe, wordpiece, unigram
    --out DIR!                  a new folder, or one that was begun
    --field NAME=text           of a record that holds the text
    --documents file|paragraph|line   what a document of a plain text is
    --objective NAME            such as MaskedLM: special tokens, sentences, ends that it needs
    --eos                       put the token eos behind every document
    --sentences                 record where sentences start
    --eval-fraction X=0.1       held out
    --shard-size SIZE=256MiB    of ids
    --vocab-size N=32768        of a tokenizer that is learned
    --processes N=1             1 uses threads on all cores already

    Stopped, it goes on where it was, with the same arguments.
    """
    from transformers_jax.data import tokenize as work
    from transformers_jax.objectives import OBJECTIVES
    from transformers_jax.sizes import parse_bytes
    from transformers_jax.spelling import nearest

    name, objective = options.objective, None
    if name is not None:
        if name not in OBJECTIVES:
            hint = nearest(name, OBJECTIVES)
            known = ", ".join(OBJECTIVES)
            raise ValueError(f"--objective {name!r} is unknown{hint}; there are {known}")
        objective = OBJECTIVES[name]()
    settings = ("source", "tokenizer", "field", "documents", "eval_fraction", "vocab_size")
    request = work.Request(
        **{name: getattr(options, name) for name in settings},
        eos=options.eos or (objective is not None and objective.ends(True)),
        sentences=options.sentences or (objective is not None and objective.sentences),
        shard_size=parse_bytes("shard_size", options.shard_size),
        roles=() if objective is None else objective.learned_roles(True),
        sentinels=0 if objective is None else objective.sentinels,
        modes=() if objective is None else objective.modes,
    )
    written = work.tokenize(request, options.out, processes=options.processes)
    for split, count in written.tokens.items():
        print(f"{split}: {written.documents[split]:,} documents, {count:,} tokens")
    if written.encoded:
        speed = written.encoded / written.seconds
        print(f"{speed:,.0f} tokens/s; train with --data.path {options.out}")
    return 0
