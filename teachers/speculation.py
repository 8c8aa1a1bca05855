"""Speculative decoding: a small draft proposes pieces, the model checks several of them in one pass.

- Greedy: a proposed piece stays where it is the model's own likeliest, and the pass that checks a run of pieces gives
  the next one too. So the text is the model's own greedy text, whatever the draft says; a good draft saves passes.
  (Leviathan et al., arXiv 2211.17192; its section 2.3 with temperature 0.)
- The library's assisted generation does the work; here its passes are counted, and what it asks of both is checked.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from transformers import GenerationConfig

from ..errors import AttarError, UsageError
from .causal import Causal
from .continuation import until


class Speculation(NamedTuple):
    """A continuation, and what it took."""

    ids: list[int]  # up to end-of-text, without it
    passes: int  # of the model; without a draft there is one for each piece
    drafted: int  # pieces that the draft proposed

    @property
    def accepted(self) -> float:
        """Proposed pieces that stayed, a pass of the model: each pass gives one more piece of its own."""
        return max(0, len(self.ids) - self.passes) / max(1, self.passes)


def check(lm: Causal, draft: Causal) -> None:
    """Refuse a pair that cannot work together."""
    for role, one in (("model", lm), ("draft", draft)):
        if one.model.config.model_type == "openai-gpt":
            raise UsageError(f"the {role} is a GPT-1, which keeps no keys and values", fix="take a GPT-2")
    if lm.tokenizer.get_vocab() != draft.tokenizer.get_vocab():
        raise UsageError("the draft has another vocabulary than the model", fix="take a student of this model")


def speculate(lm: Causal, draft: Causal, ids: list[int], *, max_new: int = 64, lookahead: int = 5) -> Speculation:
    """The model's greedy continuation of `ids`, with a draft that looks at most `lookahead` pieces ahead."""
    check(lm, draft)
    if not 0 < max_new < lm.positions:
        what = f"{max_new} new pieces, and the model holds {lm.positions}"
        raise AttarError(what, fix=f"ask for 1 to {lm.positions - 1}")
    ids = ids[-(lm.positions - max_new) :]  # what the model alone would read: a shorter prompt has another text
    if not ids:
        raise AttarError("an empty prompt, and no end-of-text piece to begin with")
    if len(ids) + max_new > draft.positions:
        what = f"{len(ids)} pieces of prompt and {max_new} new ones, and the draft holds {draft.positions}"
        raise AttarError(what, fix="take a shorter prompt, fewer new pieces, or no draft")
    helper = draft.model.generation_config
    helper.num_assistant_tokens = lookahead
    helper.num_assistant_tokens_schedule = "constant"
    helper.assistant_confidence_threshold = 0.0
    settings = GenerationConfig(
        max_new_tokens=max_new,
        do_sample=False,
        eos_token_id=lm.end_id,
        pad_token_id=lm.end_id if lm.end_id is not None else 0,
    )
    inputs = torch.tensor([ids], device=lm.model.device)
    with _Counted(lm) as passes, _Counted(draft) as proposals, torch.inference_mode():
        mask = torch.ones_like(inputs)
        found = lm.model.generate(inputs, attention_mask=mask, generation_config=settings, assistant_model=draft.model)
    return Speculation(until(found[0, len(ids) :].tolist(), lm.end_id), passes.count, proposals.count)


class _Counted:
    """Counts a model's forward passes while it is open."""

    def __init__(self, lm: Causal) -> None:
        self.model, self.count = lm.model, 0

    def __enter__(self) -> _Counted:
        self.hook = self.model.register_forward_pre_hook(self._seen)
        return self

    def __exit__(self, *_: object) -> None:
        self.hook.remove()

    def _seen(self, *_: object) -> None:
        self.count += 1
