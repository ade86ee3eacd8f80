"""What each command does: a few lines, which call the package."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from transformers_jax.cli.flags import GENERATION
from transformers_jax.cli.texts import (
    continued,
    decode,
    encode,
    ends_of,
    model_folder,
    model_source,
    read_by,
    read_prompts,
    read_tokenizer,
    say,
    target,
    until,
)
from transformers_jax.runs.pretrain import keep_compiled_programs


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
    folder = model_folder(options.model)
    tokenizer = None if options.ids else read_tokenizer(folder)
    prompts = options.ids or read_prompts(options)
    if not all(encode(tokenizer, text) for text in prompts):
        raise ValueError("a prompt is empty; give at least one token")
    model = tj.from_pretrained(folder, dtype=options.dtype, ignore=options.ignore)
    rows = [read_by(model, tokenizer, text) for text in prompts]
    width, left = max(map(len, rows)), not model.is_encoder_decoder
    fill = lambda row, n: (
        [n] * (width - len(row)) * left + row + [n] * (width - len(row)) * (1 - left)
    )
    wanted = {name: getattr(options, name) for name in GENERATION if getattr(options, name)}
    ids = tj.generate(
        model,
        input_ids=jnp.array([fill(row, model.config.pad_token_id or 0) for row in rows]),
        attention_mask=jnp.array([fill([1] * len(row), 0) for row in rows]),
        key=jax.random.key(options.seed) if options.do_sample else None,
        **wanted,
    )
    each = options.num_return_sequences or 1
    start = width if left else 1
    ends = ends_of(model)
    for number, row in enumerate(np.asarray(ids).tolist()):
        before = rows[number // each] if left else []
        text = continued(tokenizer, before, until(row[start:], ends))
        say(prompts[number // each], text, left, number, len(ids), options)
    return 0


def inspect(options: Namespace) -> int:
    """Shows what a checkpoint or a config is."""
    from transformers_jax.inspection import tables
    from transformers_jax.inspection.description import describe, to_json

    source = model_source(options.model)
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
    tokenizer = read_tokenizer(source) if options.ids is None else None
    ids = read_by(model, tokenizer, options.text if options.ids is None else options.ids)
    spell = lambda row: [pictures.show_token(decode(tokenizer, [token])) for token in row]
    given: dict[str, Any] = dict(input_ids=np.array([ids]))
    labels = {"stack": spell(ids)}
    if model.is_encoder_decoder:
        answer = target(model, given, tokenizer, options)
        given["decoder_input_ids"] = np.array([answer])
        labels = {"encoder": spell(ids), "decoder": spell(answer)}
    fields = model(**given, output_attentions=True)
    title = f"{Path(options.model).name} ({config.model_type})"
    graphs = pictures.draw_graphs(model, out, labels)
    return [*graphs, *pictures.draw_maps(fields, out, labels, title)]


def convert(options: Namespace) -> int:
    """Writes a checkpoint as PyTorch transformers writes it today, and says what changed."""
    import jax

    from transformers_jax.inspection.conversion import convert as write

    key = None if options.seed is None else jax.random.key(options.seed)
    done = write(
        model_folder(options.source),
        options.target,
        head=options.head,
        dtype=options.dtype,
        max_shard_size=options.max_shard_size,
        key=key,
        overwrite=options.overwrite,
        ignore=options.ignore,
    )
    if options.json:
        print(json.dumps(done.to_dict(), indent=2))
        return 0
    print(f"wrote {options.target}: {done.tensors} tensors, head {done.head}")
    print(f"files: {', '.join(done.files)}")
    report = {
        "copied": done.copied,
        "renamed": [f"{old} -> {new}" for old, new in done.renamed],
        "changed dtype": [f"{name}: {old} -> {new}" for name, old, new in done.retyped],
        "not written (not part of this model)": done.dropped,
        "drawn anew": done.drawn,
        "config": [f"{name}: {old!r} -> {new!r}" for name, old, new in done.config],
    }
    for kind, lines in report.items():
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

    steps = find_steps(options.folder)
    found = {path.name: verify_step(path) for path in steps}
    wrong = [step for step, leaves in found.items() if not all(x.good for x in leaves.values())]
    if options.json:
        as_dicts = {k: {name: x.to_dict() for name, x in v.items()} for k, v in found.items()}
        print(json.dumps(as_dicts, indent=2))
    else:
        for path in steps:
            leaves = found[path.name]
            print(f"{path}: {'damaged' if path.name in wrong else 'ok'}")
            width = max(len(name) for name in leaves)
            wide = max(len(leaf.array) for leaf in leaves.values())
            for name, leaf in leaves.items():
                print(f"  {name:<{width}}  {leaf.array:<{wide}}  {leaf.verdict}")
    if wrong:
        several = f"steps {', '.join(wrong)} are" if len(wrong) > 1 else f"step {wrong[0]} is"
        raise ValueError(f"{options.folder}: {several} damaged; --resume auto passes over them")
    return 0


def env(options: Namespace) -> int:
    """Prints what a report of a bug should say."""
    from transformers_jax.inspection.environment import environment

    found = environment()
    if options.json:
        print(json.dumps(found, indent=2))
        return 0
    width = max(len(name) for rows in found.values() for name in rows)
    for section, rows in found.items():
        print(f"{section}:" if rows else f"{section}: none")
        for name, value in rows.items():
            print(f"  {name:<{width}}  {value}")
    return 0


def runs(options: Namespace) -> int:
    """Lists runs of pretraining: what they are, how far they are, how good they are."""
    import dataclasses

    from transformers_jax.runs import summary

    if not options.folders and not Path("runs").is_dir():
        raise ValueError("there is no folder runs here; name the folders that hold runs")
    found = [summary.summarise(f) for f in summary.find_runs(options.folders or ["runs"])]
    found = summary.sort_runs(found, options.sort)
    if options.json:
        print(json.dumps([dataclasses.asdict(run) for run in found], indent=2))
    elif found:
        summary.show(found)
    else:
        print(f"no run in {', '.join(options.folders or ['runs'])}")
    return 0


def report(options: Namespace) -> int:
    """Writes one page about a run, or about several side by side; or fits scaling laws to them."""
    from transformers_jax.runs import compare
    from transformers_jax.runs.report import write_report
    from transformers_jax.runs.summary import find_runs

    found = find_runs(options.runs)
    if options.scaling:
        from transformers_jax.runs import scaling

        print(f"wrote {scaling.write_scaling(found, Path(options.out or 'scaling.md'))}")
    elif len(found) == 1 and not options.out:
        print(f"wrote {write_report(found[0])}")
    else:
        print(f"wrote {compare.write_page(found, Path(options.out or 'report.html'))}")
    return 0


def objective_named(name: str) -> Any:
    """The objective of a name, as configs name it.

    Raises:
        ValueError: there is none, with the nearest.
    """
    from transformers_jax.objectives import OBJECTIVES
    from transformers_jax.spelling import nearest

    if name not in OBJECTIVES:
        raise ValueError(
            f"--objective {name!r} is unknown{nearest(name, OBJECTIVES)}; there are "
            f"{', '.join(OBJECTIVES)}"
        )
    return OBJECTIVES[name]()


def tokenize(options: Namespace) -> int:
    """Makes a source token ids, once, in a folder."""
    from transformers_jax.data import tokenize as work
    from transformers_jax.sizes import parse_bytes

    asked = objective_named(options.objective) if options.objective else None
    request = work.Request(
        source=options.source,
        tokenizer=options.tokenizer,
        field=options.field,
        documents=options.documents,
        eos=options.eos or (asked is not None and asked.ends(True)),
        sentences=options.sentences or (asked is not None and asked.sentences),
        eval_fraction=options.eval_fraction,
        shard_size=parse_bytes("shard_size", options.shard_size),
        vocab_size=options.vocab_size,
        roles=() if asked is None else asked.learned_roles(True),
        sentinels=0 if asked is None else asked.sentinels,
        modes=() if asked is None else asked.modes,
    )
    made = work.tokenize(request, options.out, processes=options.processes)
    for split, count in made.tokens.items():
        print(f"{split}: {made.documents[split]:,} documents, {count:,} tokens")
    if made.encoded:
        print(f"{made.encoded / made.seconds:,.0f} tokens/s; train with --data.path {options.out}")
    return 0
