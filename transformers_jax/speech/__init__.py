"""Speech to text: `transcribe`, with models that write (Whisper) and models of frames (Wav2Vec2).

transcribe.py  audios in, transcripts out
reader.py      features of an audio, and segments of what was written
languages.py   names and codes
vocabulary.py  the tokens that say what to do, and how a text begins
decoding.py    a window to tokens, at rising temperatures
segments.py    tokens to pieces, by the times among them
windows.py     long audio, window after window
chunks.py      long audio, in chunks that overlap
words.py       when each word is said
frames.py      long audio, by the scores of frames
symbols.py     the characters of a model of frames
transcript.py  the records that come back
subtitles.py   .srt and .vtt
"""

from transformers_jax.speech.decoding import Trust
from transformers_jax.speech.subtitles import srt, vtt
from transformers_jax.speech.transcribe import transcribe
from transformers_jax.speech.transcript import Segment, Transcript, UnreadableAudio, Word

__all__ = [
    "Segment",
    "Transcript",
    "Trust",
    "UnreadableAudio",
    "Word",
    "srt",
    "transcribe",
    "vtt",
]
