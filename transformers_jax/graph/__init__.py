"""Which token may attend to which: nodes, masks, edges between them. No parameters, no flax."""

from transformers_jax.graph.blocks import Block as Block
from transformers_jax.graph.blocks import Scattered as Scattered
from transformers_jax.graph.edges import Edges as Edges
from transformers_jax.graph.edges import connect as connect
from transformers_jax.graph.mask import OWN as OWN
from transformers_jax.graph.mask import Mask as Mask
from transformers_jax.graph.mask import PerLayer as PerLayer
from transformers_jax.graph.mask import with_own as with_own
from transformers_jax.graph.nodes import Nodes as Nodes
from transformers_jax.graph.nodes import concatenate as concatenate
from transformers_jax.graph.nodes import sequence as sequence
from transformers_jax.graph.order import TEXT_POSITION as TEXT_POSITION
from transformers_jax.graph.order import attends_ahead as attends_ahead
from transformers_jax.graph.order import from_first_token as from_first_token
from transformers_jax.graph.parse import parse as parse
from transformers_jax.graph.primitives import CAUSAL as CAUSAL
from transformers_jax.graph.primitives import FULL as FULL
from transformers_jax.graph.primitives import Before as Before
from transformers_jax.graph.primitives import Dense as Dense
from transformers_jax.graph.primitives import Full as Full
from transformers_jax.graph.primitives import Holds as Holds
from transformers_jax.graph.primitives import Near as Near
from transformers_jax.graph.primitives import Same as Same
from transformers_jax.graph.primitives import Strided as Strided
from transformers_jax.graph.primitives import Where as Where
from transformers_jax.graph.tiles import last_keys as last_keys
