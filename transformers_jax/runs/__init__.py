"""Whole runs: how one is started, what a finished one says, and what several say together.

fit.py         one run: the engine of training/, then its card and its report
pretrain.py    the command: a config, flags over it (configured.py), and fit;  dry_run.py
export.py      a saved step of a run as a model
summary.py     the folder of a run in one row, and the table of many
report.py      the report of a run and the card of its model, with plots.py;  compare.py  of several
asking.py      questions to a model as it is
answering.py   a model with its task;  predictions.py  what it says of a table;
               sampling.py  how texts that are written are drawn
sweep.py       the same run with each choice of some settings;  scaling.py  laws fitted to runs
"""
