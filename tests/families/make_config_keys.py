"""Makes fixtures/config_keys.json: the keys of each family's config in transformers, and its reads.

    python tests/families/make_config_keys.py       (needs the extra `parity`)

{model_type: {key: whether the family's modelling code reads it}} of the installed release.
"""

import inspect
import json
import re
from pathlib import Path

import transformers
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from transformers_jax.models import FAMILIES

FILE = Path(__file__).parent / "fixtures" / "config_keys.json"
READ = re.compile(r"config\.(\w+)|getattr\((?:self\.)?config, \"(\w+)\"")


def keys(model_type):
    """Each key of the config, and whether `config.key` stands in the modelling code."""
    cls = CONFIG_MAPPING[model_type]
    folder = Path(inspect.getfile(cls)).parent
    code = "".join(path.read_text() for path in sorted(folder.glob("modeling_*.py")))
    read = {name for pair in READ.findall(code) for name in pair}
    renamed = dict(cls.attribute_map)
    read |= {renamed[name] for name in read if name in renamed}
    defaults = {} if model_type.endswith("encoder-decoder") else cls().to_dict()
    names = {*defaults, *getattr(cls, "__annotations__", {}), *renamed}
    return {name: name in read for name in sorted(names) if not name.startswith("_")}


if __name__ == "__main__":
    keys_of = {model_type: keys(model_type) for model_type in sorted(FAMILIES)}
    content = {"transformers": transformers.__version__, "families": keys_of}
    FILE.write_text(json.dumps(content, indent=1) + "\n")
