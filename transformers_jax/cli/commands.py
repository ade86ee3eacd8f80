"""What each command does: a few lines, which call the package."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from transformers_jax.cli import texts
from transformers_jax.cli.flags import GENERATION
from transformers_jax.runs.pretrain import keep_compiled_programs


def print_json(values: Any) -> int:
    """Prints values for programs; returns the status of success."""
    print(json.dumps(values, indent=2))
    return 0


def pretrain(arguments: list[str]) -> int:
    """Trains a model from a config: the same main as `python -m train.pretrain`."""
    from transformers_jax.runs.pretrain import main as train

    return train(arguments, program="transformers-jax pretrain")


def generate(options: Namespace) -> int:
    """Continues the prompts, all as one batch."""
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
    """Shows what a checkpoint or a config is."""
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
    """Writes a checkpoint as PyTorch transformers writes it today, and says what changed."""
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
    """Compares every leaf of checkpoints with what was saved."""
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
    """Prints what a report of a bug should say."""
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
    """Lists runs of pretraining: what they are, how far they are, how good they are."""
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
    """Writes one page about a run, or about several side by side; or fits scaling laws to them."""
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
    """Makes a source token ids, once, in a folder."""
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
