"""How a causal language model goes on with a text, through `transformers`' own generation.

- A prompt is a single row, so nothing is padded; several samples are drawn from it at once.
- The draw hangs on the seed alone, and the process's own random state stays as it was.
"""

from __future__ import annotations

import math

import torch
from transformers import GenerationConfig

from ..errors import AttarError
from .causal import Causal


def continuations(
    lm: Causal,
    prompt: str,
    *,
    max_new: int = 64,
    temperature: float = 0.0,
    top_k: int | None = None,
    samples: int = 1,
    seed: int = 0,
    cache: bool = True,
) -> list[str]:
    """How the model goes on with the prompt: until end-of-text, or for `max_new` pieces.

    A `temperature` of 0 takes the likeliest piece each time (greedy); above 0 pieces are drawn, from the `top_k`
    likeliest where given (GPT-2's stories: 40). One seed gives the same texts.
    The prompt is cut from the left where it leaves no room. Stock GPT-1 keeps no keys and values: `cache` is for GPT-2.
    """
    if not 0 < max_new < lm.positions:
        raise AttarError(f"{max_new} new pieces, and the model holds {lm.positions}", where="max_new")
    if not (math.isfinite(temperature) and temperature >= 0) or (top_k is not None and top_k < 1) or samples < 1:
        what = f"temperature {temperature}, top_k {top_k}, samples {samples}"
        raise AttarError(what, fix="temperature is 0 or more, top_k and samples at least 1")
    ids = (lm.pieces(prompt) or lm.start())[-(lm.positions - max_new) :]
    if not ids:
        raise AttarError("an empty prompt, and no end-of-text piece to begin with")
    draw = {"temperature": temperature, "top_k": top_k or 0} if temperature > 0 else {}
    settings = GenerationConfig(
        max_new_tokens=max_new,
        do_sample=temperature > 0,
        num_return_sequences=samples if temperature > 0 else 1,
        use_cache=cache and lm.model.config.model_type != "openai-gpt",
        eos_token_id=lm.end_id,
        pad_token_id=lm.end_id if lm.end_id is not None else 0,
        **draw,
    )
    inputs = torch.tensor([ids], device=lm.model.device)
    with torch.random.fork_rng(), torch.inference_mode():
        torch.manual_seed(seed)
        found = lm.model.generate(inputs, attention_mask=torch.ones_like(inputs), generation_config=settings)
    texts = [_until(row[len(ids) :], lm) for row in found.tolist()]
    return texts * samples if temperature == 0 else texts


def _until(ids: list[int], lm: Causal) -> str:
    """The pieces before end-of-text as text."""
    if lm.end_id in ids:
        ids = ids[: ids.index(lm.end_id)]
    return str(lm.tokenizer.decode(ids, skip_special_tokens=False))
