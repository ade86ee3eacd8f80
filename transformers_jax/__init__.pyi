"""The public names and where each is defined. Type checkers and editors read this file, and
`__init__.py` imports from it a name that is used for the first time."""

from .acting.cartpole import CartPole as CartPole
from .acting.policy import Policy as Policy
from .acting.rollout import rollout as rollout
from .adapting import (
    adapt as adapt,
    merge_adapter as merge_adapter,
    without_adapter as without_adapter,
)
from .adapting.combine import combine_adapters as combine_adapters
from .adapting.files import (
    load_adapter as load_adapter,
    save_adapter as save_adapter,
)
from .allocator import keep_freed_memory as keep_freed_memory
from .auto import (
    AutoConfig as AutoConfig,
    AutoBackbone as AutoBackbone,
    AutoModel as AutoModel,
    AutoModelForAudioClassification as AutoModelForAudioClassification,
    AutoModelForAudioFrameClassification as AutoModelForAudioFrameClassification,
    AutoModelForAudioXVector as AutoModelForAudioXVector,
    AutoModelForCTC as AutoModelForCTC,
    AutoModelForCausalLM as AutoModelForCausalLM,
    AutoModelForImageClassification as AutoModelForImageClassification,
    AutoModelForImageTextToText as AutoModelForImageTextToText,
    AutoModelForImageTextRetrieval as AutoModelForImageTextRetrieval,
    AutoModelForVision2Seq as AutoModelForVision2Seq,
    AutoModelForMaskedImageModeling as AutoModelForMaskedImageModeling,
    AutoModelForSemanticSegmentation as AutoModelForSemanticSegmentation,
    AutoModelForMaskedLM as AutoModelForMaskedLM,
    AutoModelForMultipleChoice as AutoModelForMultipleChoice,
    AutoModelForNextSentencePrediction as AutoModelForNextSentencePrediction,
    AutoModelForPreTraining as AutoModelForPreTraining,
    AutoModelForQuestionAnswering as AutoModelForQuestionAnswering,
    AutoModelForSeq2SeqLM as AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification as AutoModelForSequenceClassification,
    AutoModelForSpeechSeq2Seq as AutoModelForSpeechSeq2Seq,
    AutoModelForTextEncoding as AutoModelForTextEncoding,
    AutoModelForTokenClassification as AutoModelForTokenClassification,
    AutoModelForZeroShotImageClassification as AutoModelForZeroShotImageClassification,
    EncoderDecoderModel as EncoderDecoderModel,
    VisionEncoderDecoderModel as VisionEncoderDecoderModel,
    VisionTextDualEncoderModel as VisionTextDualEncoderModel,
)
from .data.config import Data as Data
from .data.tokenizers import load_tokenizer as load_tokenizer
from .embedding.encode import (
    encode as encode,
    similarity as similarity,
)
from .embedding.features import features as features
from .embedding.zero_shot import zero_shot as zero_shot
from .generation import generate as generate
from .generation.constraints import (
    DisjunctiveConstraint as DisjunctiveConstraint,
    PhrasalConstraint as PhrasalConstraint,
)
from .generation.detection import (
    WatermarkDetector as WatermarkDetector,
    WatermarkDetectorOutput as WatermarkDetectorOutput,
)
from .generation.ctc import decode_ctc as decode_ctc
from .generation.ctc_symbols import (
    Symbols as Symbols,
    read_symbols as read_symbols,
)
from .generation.grammar import (
    Grammar as Grammar,
    GrammarState as GrammarState,
    Regex as Regex,
)
from .generation.revise import revise as revise
from .generation.processors import (
    ClassifierFreeGuidanceLogitsProcessor as ClassifierFreeGuidanceLogitsProcessor,
    EncoderNoRepeatNGramLogitsProcessor as EncoderNoRepeatNGramLogitsProcessor,
    EncoderRepetitionPenaltyLogitsProcessor as EncoderRepetitionPenaltyLogitsProcessor,
    EpsilonLogitsWarper as EpsilonLogitsWarper,
    EtaLogitsWarper as EtaLogitsWarper,
    ExponentialDecayLengthPenalty as ExponentialDecayLengthPenalty,
    ForcedBOSTokenLogitsProcessor as ForcedBOSTokenLogitsProcessor,
    ForcedEOSTokenLogitsProcessor as ForcedEOSTokenLogitsProcessor,
    InfNanRemoveLogitsProcessor as InfNanRemoveLogitsProcessor,
    LogitNormalization as LogitNormalization,
    MinLengthLogitsProcessor as MinLengthLogitsProcessor,
    MinNewTokensLengthLogitsProcessor as MinNewTokensLengthLogitsProcessor,
    MinPLogitsWarper as MinPLogitsWarper,
    NoBadWordsLogitsProcessor as NoBadWordsLogitsProcessor,
    NoRepeatNGramLogitsProcessor as NoRepeatNGramLogitsProcessor,
    PrefixConstrainedLogitsProcessor as PrefixConstrainedLogitsProcessor,
    RepetitionPenaltyLogitsProcessor as RepetitionPenaltyLogitsProcessor,
    SequenceBiasLogitsProcessor as SequenceBiasLogitsProcessor,
    SuppressTokensAtBeginLogitsProcessor as SuppressTokensAtBeginLogitsProcessor,
    SuppressTokensLogitsProcessor as SuppressTokensLogitsProcessor,
    SynthIDTextWatermarkLogitsProcessor as SynthIDTextWatermarkLogitsProcessor,
    TemperatureLogitsWarper as TemperatureLogitsWarper,
    TopHLogitsWarper as TopHLogitsWarper,
    TopKLogitsWarper as TopKLogitsWarper,
    TopPLogitsWarper as TopPLogitsWarper,
    TypicalLogitsWarper as TypicalLogitsWarper,
    UnbatchedClassifierFreeGuidanceLogitsProcessor as UnbatchedClassifierFreeGuidanceLogitsProcessor,  # noqa: E501
    WatermarkLogitsProcessor as WatermarkLogitsProcessor,
    WhisperTimeStampLogitsProcessor as WhisperTimeStampLogitsProcessor,
)
from .generation.stream import (
    TextStreamer as TextStreamer,
    stream as stream,
)
from .generation.stopping import (
    EosTokenCriteria as EosTokenCriteria,
    MaxLengthCriteria as MaxLengthCriteria,
    MaxTimeCriteria as MaxTimeCriteria,
    StopStringCriteria as StopStringCriteria,
)
from .generation.watermarks import (
    SynthIDTextWatermarkingConfig as SynthIDTextWatermarkingConfig,
    WatermarkingConfig as WatermarkingConfig,
)
from .graph import (
    Before as Before,
    Block as Block,
    CAUSAL as CAUSAL,
    Dense as Dense,
    Edges as Edges,
    FULL as FULL,
    Full as Full,
    Mask as Mask,
    Holds as Holds,
    Listed as Listed,
    Near as Near,
    Nodes as Nodes,
    OWN as OWN,
    Same as Same,
    Scattered as Scattered,
    Strided as Strided,
    Where as Where,
    connect as connect,
    sequence as sequence,
)
from .inspection.summary import summary as summary
from .models.adapters.records import (
    BitFit as BitFit,
    Freeze as Freeze,
    IA3 as IA3,
    LoRA as LoRA,
    PrefixTuning as PrefixTuning,
    PromptTuning as PromptTuning,
    Probe as Probe,
    Train as Train,
)
from .models.albert import AlbertConfig as AlbertConfig
from .models.audio_spectrogram_transformer import ASTConfig as ASTConfig
from .models.bart import BartConfig as BartConfig
from .models.base import (
    Model as Model,
    functional as functional,
    init_cache as init_cache,
)
from .models.beit import BeitConfig as BeitConfig
from .models.bert import BertConfig as BertConfig
from .models.big_bird import BigBirdConfig as BigBirdConfig
from .models.blenderbot import BlenderbotConfig as BlenderbotConfig
from .models.blenderbot_small import BlenderbotSmallConfig as BlenderbotSmallConfig
from .models.blip import (
    BlipConfig as BlipConfig,
    BlipTextConfig as BlipTextConfig,
    BlipVisionConfig as BlipVisionConfig,
)
from .models.blip_2 import Blip2Config as Blip2Config
from .models.blip_2 import Blip2QFormerConfig as Blip2QFormerConfig
from .models.bloom import BloomConfig as BloomConfig
from .models.camembert import CamembertConfig as CamembertConfig
from .models.clip import (
    CLIPConfig as CLIPConfig,
    CLIPTextConfig as CLIPTextConfig,
    CLIPVisionConfig as CLIPVisionConfig,
)
from .models.codegen import CodeGenConfig as CodeGenConfig
from .models.convnext import ConvNextConfig as ConvNextConfig
from .models.convnextv2 import ConvNextV2Config as ConvNextV2Config
from .models.deberta import DebertaConfig as DebertaConfig
from .models.deberta_v2 import DebertaV2Config as DebertaV2Config
from .models.decision_transformer import DecisionTransformerConfig as DecisionTransformerConfig
from .models.deepseek_v3 import DeepseekV3Config as DeepseekV3Config
from .models.deit import DeiTConfig as DeiTConfig
from .models.dinov2 import Dinov2Config as Dinov2Config
from .models.dinov2_with_registers import (
    Dinov2WithRegistersConfig as Dinov2WithRegistersConfig,
)
from .models.dinov3_vit import DINOv3ViTConfig as DINOv3ViTConfig
from .models.distilbert import DistilBertConfig as DistilBertConfig
from .models.dit import DiTConfig as DiTConfig
from .models.electra import ElectraConfig as ElectraConfig
from .models.encoder_decoder import EncoderDecoderConfig as EncoderDecoderConfig
from .models.esm import EsmConfig as EsmConfig
from .models.esmfold import EsmFoldingConfig as EsmFoldingConfig
from .models.falcon import FalconConfig as FalconConfig
from .models.gat import (
    GatConfig as GatConfig,
    GatConvConfig as GatConvConfig,
    GatV2ConvConfig as GatV2ConvConfig,
)
from .models.gemma import GemmaConfig as GemmaConfig
from .models.gemma2 import Gemma2Config as Gemma2Config
from .models.gemma3 import Gemma3TextConfig as Gemma3TextConfig
from .models.gpt2 import GPT2Config as GPT2Config
from .models.granite import GraniteConfig as GraniteConfig
from .models.gpt_oss import GptOssConfig as GptOssConfig
from .models.gpt_neo import GPTNeoConfig as GPTNeoConfig
from .models.gpt_neox import GPTNeoXConfig as GPTNeoXConfig
from .models.gptj import GPTJConfig as GPTJConfig
from .models.graph_transformer import (
    GraphTransformerConfig as GraphTransformerConfig,
    TransformerConvConfig as TransformerConvConfig,
)
from .models.hubert import HubertConfig as HubertConfig
from .models.led import LEDConfig as LEDConfig
from .models.idefics import IdeficsConfig as IdeficsConfig
from .models.llama import LlamaConfig as LlamaConfig
from .models.llava import LlavaConfig as LlavaConfig
from .models.longformer import LongformerConfig as LongformerConfig
from .models.longt5 import LongT5Config as LongT5Config
from .models.m2m_100 import M2M100Config as M2M100Config
from .models.marian import MarianConfig as MarianConfig
from .models.mbart import MBartConfig as MBartConfig
from .models.mistral import MistralConfig as MistralConfig
from .models.mixtral import MixtralConfig as MixtralConfig
from .models.modernbert import ModernBertConfig as ModernBertConfig
from .models.mpnet import MPNetConfig as MPNetConfig
from .models.mt5 import MT5Config as MT5Config
from .models.nomic_bert import NomicBertConfig as NomicBertConfig
from .models.olmo2 import Olmo2Config as Olmo2Config
from .models.openai_gpt import OpenAIGPTConfig as OpenAIGPTConfig
from .models.output import Output as Output
from .models.opt import OPTConfig as OPTConfig
from .models.paligemma import PaliGemmaConfig as PaliGemmaConfig
from .models.pegasus import PegasusConfig as PegasusConfig
from .models.perceiver import PerceiverConfig as PerceiverConfig
from .models.phi3 import Phi3Config as Phi3Config
from .models.qwen2 import Qwen2Config as Qwen2Config
from .models.qwen3 import Qwen3Config as Qwen3Config
from .models.qwen2_moe import Qwen2MoeConfig as Qwen2MoeConfig
from .models.qwen3_moe import Qwen3MoeConfig as Qwen3MoeConfig
from .models.phi import PhiConfig as PhiConfig
from .models.recurrent import RecurrentConfig as RecurrentConfig
from .models.resnet import ResNetConfig as ResNetConfig
from .models.roberta import RobertaConfig as RobertaConfig
from .models.roformer import RoFormerConfig as RoFormerConfig
from .models.smollm3 import SmolLM3Config as SmolLM3Config
from .models.stablelm import StableLmConfig as StableLmConfig
from .models.starcoder2 import Starcoder2Config as Starcoder2Config
from .models.siglip import (
    SiglipConfig as SiglipConfig,
    SiglipTextConfig as SiglipTextConfig,
    SiglipVisionConfig as SiglipVisionConfig,
)
from .models.siglip2 import (
    Siglip2Config as Siglip2Config,
    Siglip2TextConfig as Siglip2TextConfig,
    Siglip2VisionConfig as Siglip2VisionConfig,
)
from .models.speech_encoder_decoder import (
    SpeechEncoderDecoderConfig as SpeechEncoderDecoderConfig,
)
from .models.switch_transformers import SwitchTransformersConfig as SwitchTransformersConfig
from .models.swin import SwinConfig as SwinConfig
from .models.swinv2 import Swinv2Config as Swinv2Config
from .models.t5 import T5Config as T5Config
from .models.torch_modules import TransformerConfig as TransformerConfig
from .models.umt5 import UMT5Config as UMT5Config
from .models.vision_encoder_decoder import (
    VisionEncoderDecoderConfig as VisionEncoderDecoderConfig,
)
from .models.vision_text_dual_encoder import (
    VisionTextDualEncoderConfig as VisionTextDualEncoderConfig,
)
from .models.vit import ViTConfig as ViTConfig
from .models.vit_mae import ViTMAEConfig as ViTMAEConfig
from .models.wav2vec2 import Wav2Vec2Config as Wav2Vec2Config
from .models.whisper import WhisperConfig as WhisperConfig
from .models.xglm import XGLMConfig as XGLMConfig
from .models.xlm_roberta import XLMRobertaConfig as XLMRobertaConfig
from .models.xlm_roberta_xl import XLMRobertaXLConfig as XLMRobertaXLConfig
from .nn.attend import attend as attend
from .nn.attention import Attention as Attention
from .nn.param import (
    bind as bind,
    initialise as initialise,
    partition as partition,
)
from .nn.attention import AttentionSpec as AttentionSpec
from .objectives import (
    causal_lm as causal_lm,
    supervised as supervised,
)
from .objectives.pairs import (
    contrastive as contrastive,
    image_text as image_text,
    matryoshka as matryoshka,
)
from .optim import AdamW as AdamW
from .pretrained import (
    from_config as from_config,
    from_pretrained as from_pretrained,
)
from .processing.processor import load_processor as load_processor
from .resize import resize_embeddings as resize_embeddings
from .data.config import Table as Table
from .runs.predictions import evaluate as evaluate, predict as predict
from .runs.fit import fit as fit
from .runs.recipe import finetune as finetune
from .saving import save_pretrained as save_pretrained
from .scoring.attributions import attributions as attributions
from .scoring.continuations import score_continuations as score_continuations
from .scoring.tokens import score as score
from .scoring.windows import perplexity as perplexity
from .shard import make_mesh as make_mesh
from .proteins.folding import (
    Protein as Protein,
    fold as fold,
    fold_inputs as fold_inputs,
    to_pdb as to_pdb,
)
from .speech import (
    Segment as Segment,
    Transcript as Transcript,
    Trust as Trust,
    Word as Word,
    srt as srt,
    transcribe as transcribe,
    vtt as vtt,
)
from .student import student_of as student_of
from .training.config import TrainConfig as TrainConfig
from .training.state import TrainState as TrainState, init_state as init_state
from .training.step import make_step as make_step
from .vision.caption import caption as caption
from .vision.classify import classify as classify
from .vision.encode import encode_images as encode_images, encode_texts as encode_texts

__version__: str
