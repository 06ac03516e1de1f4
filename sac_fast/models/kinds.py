"""The kinds of models that a verdict distinguishes."""

from typing import Literal, get_args

#: What a model has in common with the source, by its maker's declaration.
Kind = Literal[
    "same-data-same-architecture", "same-data", "other-data", "other-classes", "same-backbone", "other-backbone",
    "sibling",
]  # fmt: skip
#: Every kind. "same-backbone": fine-tuned from the same public model as the source; "other-backbone": from an unrelated
#: public model; "sibling": the source's own recipe with another seed.
KINDS: tuple[Kind, ...] = get_args(Kind)
