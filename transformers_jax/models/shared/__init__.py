"""What several families share, and no other room needs: fields, blocks, heads and rows of weights.

standard.py               families whose fields have the usual names;  blocks.py  the standard block
weight_rows.py            rows that many tables repeat;  class_names.py  Hugging Face's class names
task_heads.py             the heads of fine-tuning; those of encoder_heads.py, decoder_heads.py and
                          seq2seq_heads.py come from pretraining
rope.py  sinusoidal.py    positions
dual.py                   a tower for texts and one for images
"""
