"""The engine: from a config to a trained model, in steps that can be repeated bit for bit.

config.py        what a run is: frozen records, from a Python file or a config.json
json_records.py  records of settings as JSON, and back
prepare.py       text, model and state of a run;  vocabulary.py;  devices.py
initial.py       the model that it begins with, drawn or from a checkpoint;  exported.py
peers.py         processes that watch each other
state.py         TrainState, and make_step: one compiled step;  flops.py  what it costs
gradients.py     of a whole batch, in micro-batches;  guard.py  what a step refuses to write
loop.py          the steps of a run;  evaluate.py;  finish.py  samples and the exported model
rates.py         what the learning rate does when a run goes on
checkpoint.py    saved states, with snapshot.py, recorded.py, checksums.py, disk.py
folder.py        whose a run's folder is;  stop.py  signals;  watchdog.py  a run that hangs
console.py       console output;  trackers.py, metrics.py, clock.py, provenance.py  the records
"""
