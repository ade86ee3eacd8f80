"""The names of Hugging Face's classes by the heads that they mean."""

from __future__ import annotations

ENDINGS = {
    "none": "Model",
    "masked_lm": "ForMaskedLM",
    "causal_lm": "ForCausalLM",
    "seq2seq_lm": "ForConditionalGeneration",
    "encoder": "EncoderModel",
    "pretraining": "ForPreTraining",
    "next_sentence": "ForNextSentencePrediction",
    "sequence_classification": "ForSequenceClassification",
    "token_classification": "ForTokenClassification",
    "multiple_choice": "ForMultipleChoice",
    "question_answering": "ForQuestionAnswering",
    "image_classification": "ForImageClassification",
    "masked_image_modeling": "ForMaskedImageModeling",
    "semantic_segmentation": "ForSemanticSegmentation",
    "backbone": "Backbone",
    "projection": "ModelWithProjection",
    "ctc": "ForCTC",
    "audio_classification": "ForAudioClassification",
    "audio_frame_classification": "ForAudioFrameClassification",
    "xvector": "ForXVector",
}
"""How the name of a class ends, by its head."""

LABELLING = ("sequence_classification", "token_classification", "question_answering")
"""The heads of fine-tuning that most families have."""

CHOOSING = (*LABELLING, "multiple_choice")
"""The same of most encoders."""

OF_ROWS = ("sequence_classification", "multiple_choice")
"""Those of them that answer for a whole row."""

WRITING = ("none", "seq2seq_lm", "causal_lm")
"""The heads of an encoder-decoder whose decoder is a language model of its own as well."""


IMAGE = ("none", "image_classification", "masked_image_modeling")
"""The heads of most encoders of images."""


def heads_of(family: str, *heads: str, **others: str) -> dict[str, str]:
    """The heads by the names of their classes, which begin with `family`; `others` are classes
    whose names follow no rule."""
    return {family + ENDINGS[head]: head for head in heads} | others
