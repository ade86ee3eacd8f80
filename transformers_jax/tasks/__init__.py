"""Tasks: what a fine-tuned model is asked of each record of a table, and how good its answers are.

base.py         Task: its columns, loss, answers, metrics and predictions
rows.py         records as the rows that a model reads;  warned.py  what to warn of
figures.py      what a report shows of the answers
classes.py      names of classes, and the numbers that they have in a model
corpus.py       the tables of a run as rows, in place of a text
parts.py        these rows in the order of a pass, and in batches
sequences.py    SequenceClassification, MultiLabel, Regression: of texts and pairs of texts
answers.py      QuestionAnswering: the part of a text that answers a question
tokens.py       TokenClassification: named entities and the like
choices.py      MultipleChoice: which of several texts fits another
embedding.py    Embedding: vectors, by which texts that belong together are found
paired.py       the texts of a record that are compared with one another
linear.py       a linear layer on features, solved by scikit-learn
nearest.py      how early the right texts stand, ranked by their vectors
few_shot.py     FewShot: classes of texts from a few examples of each
instructions.py Instruction: the answers of conversations
reranking.py    Reranking: how relevant documents are to a query
preferences.py  a prompt with a preferred and a rejected answer, as texts
distillation.py Distillation: classes, learned from a teacher beside the labels
dpo.py          DPO: which of two answers is preferred
images.py       how a task reads the pictures of a table
image_classes.py  ImageClassification: of pictures
image_text.py   ImageTextPairs: pictures and texts that find each other
sounds.py       how a task reads the recordings of a table
transcription.py  Transcription: the text of recordings, token by token
image_pretraining.py  ImagePretraining: hidden patches of pictures
captions.py     how pictures and texts become rows of what writes
captioning.py   Captioning: texts about pictures
graphs.py       NodeClassification, GraphClassification: of the nodes of graphs, and of graphs
speech.py       CTC: the text of recordings, frame by frame
speech_pretraining.py  SpeechPretraining: hidden frames of recordings
episodes.py     how a task reads recorded episodes;  decisions.py  how it acts as they do
offline_rl.py   OfflineRL: actions by which an episode returns what is asked
trajectory_tokens.py  TrajectoryTokens: recorded episodes as texts
generalist.py   Generalist: texts, pictures and actions of one model
writing.py      Summarization, Translation: texts that an encoder-decoder writes

A task is an objective of the engine (training/), in place of those that make examples of bare text:
its examples come from records, and its evaluation compares answers with references.
"""

from transformers_jax.tasks.answers import QuestionAnswering as QuestionAnswering
from transformers_jax.tasks.base import Task as Task
from transformers_jax.tasks.captioning import Captioning as Captioning
from transformers_jax.tasks.choices import MultipleChoice as MultipleChoice
from transformers_jax.tasks.distillation import Distillation as Distillation
from transformers_jax.tasks.dpo import DPO as DPO
from transformers_jax.tasks.embedding import Embedding as Embedding
from transformers_jax.tasks.few_shot import FewShot as FewShot
from transformers_jax.tasks.generalist import Generalist as Generalist
from transformers_jax.tasks.graphs import GraphClassification as GraphClassification
from transformers_jax.tasks.graphs import NodeClassification as NodeClassification
from transformers_jax.tasks.image_classes import ImageClassification as ImageClassification
from transformers_jax.tasks.image_pretraining import ImagePretraining as ImagePretraining
from transformers_jax.tasks.image_text import ImageTextPairs as ImageTextPairs
from transformers_jax.tasks.instructions import Instruction as Instruction
from transformers_jax.tasks.offline_rl import OfflineRL as OfflineRL
from transformers_jax.tasks.reranking import Reranking as Reranking
from transformers_jax.tasks.sequences import MultiLabel as MultiLabel
from transformers_jax.tasks.sequences import Regression as Regression
from transformers_jax.tasks.sequences import SequenceClassification as SequenceClassification
from transformers_jax.tasks.speech import CTC as CTC
from transformers_jax.tasks.speech_pretraining import SpeechPretraining as SpeechPretraining
from transformers_jax.tasks.tokens import TokenClassification as TokenClassification
from transformers_jax.tasks.trajectory_tokens import TrajectoryTokens as TrajectoryTokens
from transformers_jax.tasks.transcription import Transcription as Transcription
from transformers_jax.tasks.writing import Summarization as Summarization
from transformers_jax.tasks.writing import Translation as Translation

TASKS: dict[str, type[Task]] = {
    "sequence_classification": SequenceClassification,
    "multi_label": MultiLabel,
    "regression": Regression,
    "image_classification": ImageClassification,
    "token_classification": TokenClassification,
    "node_classification": NodeClassification,
    "graph_classification": GraphClassification,
    "question_answering": QuestionAnswering,
    "multiple_choice": MultipleChoice,
    "reranking": Reranking,
    "instruction": Instruction,
    "dpo": DPO,
    "embedding": Embedding,
    "distillation": Distillation,
    "few_shot": FewShot,
    "summarization": Summarization,
    "translation": Translation,
    "image_text": ImageTextPairs,
    "transcription": Transcription,
    "captioning": Captioning,
    "image_pretraining": ImagePretraining,
    "ctc": CTC,
    "speech_pretraining": SpeechPretraining,
    "offline_rl": OfflineRL,
    "trajectory_tokens": TrajectoryTokens,
    "generalist": Generalist,
}
"""The records by the name that a command calls them."""
