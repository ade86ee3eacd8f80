"""The engine: from a config to a trained model, in steps that can be repeated bit for bit.

config.py       what a run is: frozen records, from a Python file or a config.json;  flags.py
tokenizers.py   text to ids and back;  python_docs.py  a text that every machine has
data.py         batches, each a pure function of (seed, step)
state.py        TrainState, and make_step: one compiled step of training
checkpoint.py   saved states, verified when they are read;  folder.py  whose they are
metrics.py      what is written while it runs;  report.py  what is written at the end
stop.py         signals;  fit.py  the loop;  pretrain.py  the command
"""
