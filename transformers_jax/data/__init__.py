"""From text to batches, each a pure function of the seed and of a position in the stream.

config.py        what is read, and how it is cut: one record
sources.py       texts of files and folders;  splits.py  which are trained on;
                 prepared.py  texts of TFDS and Hugging Face;
                 python_docs/  a text that every machine has
tokenizers.py    tokenizers from files;  learned.py  from text;  wrapped.py,
                 tokenizer.py  what they are and do
tokens.py        documents as ids;  token_folders.py  on a disk;  tokenize.py  made by a command
documents.py     what is at a path, as ids;  held_out.py  how it is split;
                 corpus.py  all that a run reads
pieces.py        documents, cut into pieces;  packing.py  examples as the rows of a batch
pictures.py      pictures in tables;  picture_files.py  folders and tar shards of them;
                 damaged.py  those that cannot be read;  augment/  changes at random
unknown.py       characters of texts that a vocabulary lacks
stream.py        which batch comes when;  prefetch.py  made ahead of the loop
"""
