"""Small models of every kind, for calls that are refused."""

import functools

import jax

import transformers_jax as tj
from transformers_jax import CAUSAL, FULL, Dense, Same
from transformers_jax.models.electra_pretraining import make_replaced_token_detection
from transformers_jax.models.torch_attention import TorchAttentionConfig
from transformers_jax.models.torch_modules import TorchTransformerConfig

S, V, D = 6, 32, 24  # tokens of a source, words, width
BERT = dict(
    vocab_size=V,
    hidden_size=D,
    num_hidden_layers=1,
    num_attention_heads=4,
    intermediate_size=16,
    max_position_embeddings=8,
)
BART = dict(
    vocab_size=V,
    d_model=D,
    encoder_layers=1,
    decoder_layers=1,
    encoder_attention_heads=4,
    decoder_attention_heads=4,
    encoder_ffn_dim=16,
    decoder_ffn_dim=16,
    max_position_embeddings=8,
)
T5 = dict(vocab_size=V, d_model=D, d_kv=6, d_ff=16, num_layers=1, num_heads=4)
GPT = dict(vocab_size=V, n_positions=8, n_embd=D, n_layer=1, n_head=4)
LLAMA = dict(
    vocab_size=V,
    hidden_size=D,
    intermediate_size=16,
    num_hidden_layers=1,
    num_attention_heads=4,
    max_position_embeddings=16,
)
TOWER = dict(hidden_size=D, intermediate_size=16, num_hidden_layers=1, num_attention_heads=4)
IMAGES = dict(image_size=12, patch_size=4)
CONFIGS = {
    "bart": lambda: tj.BartConfig(**BART, eos_token_id=2).replace(num_labels=3),
    "bert": lambda: tj.BertConfig(**BERT).replace(num_labels=3),
    "clip": lambda: tj.CLIPConfig(
        text_config=tj.CLIPTextConfig(**TOWER, vocab_size=V, max_position_embeddings=8),
        vision_config=tj.CLIPVisionConfig(**TOWER, **IMAGES),
        projection_dim=6,
    ),
    "big_bird": lambda: tj.BigBirdConfig(**BERT, block_size=4, num_random_blocks=1),
    "distilbert": lambda: tj.DistilBertConfig(
        vocab_size=V, dim=D, n_layers=1, n_heads=4, hidden_dim=16, max_position_embeddings=8
    ),
    "electra": lambda: tj.ElectraConfig(**BERT, embedding_size=12),
    "gpt2": lambda: tj.GPT2Config(**GPT, pad_token_id=0).replace(num_labels=3),
    "llama": lambda: tj.LlamaConfig(**LLAMA),
    "longformer": lambda: tj.LongformerConfig(**BERT, attention_window=4),
    "recurrent": lambda: tj.RecurrentConfig(vocab_size=V, embedding_size=8, hidden_size=12),
    "t5": lambda: tj.T5Config(**T5),
    "transformer": lambda: tj.TransformerConfig(
        vocab_size=V,
        d_model=D,
        nhead=4,
        num_encoder_layers=1,
        num_decoder_layers=1,
        dim_feedforward=16,
        max_position_embeddings=8,
    ),
    "vit": lambda: tj.ViTConfig(**TOWER, **IMAGES).replace(num_labels=3),
    "whisper": lambda: tj.WhisperConfig(
        **{name: size for name, size in BART.items() if name != "max_position_embeddings"},
        num_mel_bins=5,
        max_source_positions=S,
        max_target_positions=8,
        pad_token_id=0,
    ),
    "MultiheadAttention": lambda: TorchAttentionConfig(embed_dim=D, num_heads=4, batch_first=True),
    "nn.Transformer": lambda: TorchTransformerConfig(
        d_model=D, nhead=4, num_encoder_layers=1, num_decoder_layers=1, batch_first=True
    ),
}
DOCUMENTS = {
    "encoder": Same("document"),
    "decoder": CAUSAL & Same("document") & Dense("own"),
    "cross": FULL & Dense("between"),
}
MASKS = {"gpt2": CAUSAL & Same("document") & Dense("own"), "t5": DOCUMENTS}


@functools.cache
def model_of(family, head):
    if head == "replaced_token_detection":
        return make_replaced_token_detection(CONFIGS[family](), key=jax.random.key(0))
    masked = dict(mask=MASKS[family]) if family in MASKS and head.endswith("_lm") else {}
    return tj.from_config(CONFIGS[family](), head=head, key=jax.random.key(0), **masked)
