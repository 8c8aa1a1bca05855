"""Vocabularies: WordPiece and byte-level BPE, trained on a corpus or put together, as AutoTokenizer loads them.

- The corpus is streamed; what is held is its distinct words with their counts, which grow far slower than the text.
  `share` learns from a part of the passages, chosen by their digest.
- WordPiece is BERT's: its normalizer and special pieces. NFC behind the normalizer puts together again what stripping
  accents takes apart, so that a Hangul syllable stays one character with any option (and decomposed text reads alike).
- The library numbers WordPiece's `##` characters in the order of a hash map, and breaks ties by those numbers
  (tokenizers issue 1794). They are numbered here before it starts: the same corpus gives the same vocabulary.
- Byte-level BPE is GPT-2's: its pre-tokenizer, all 256 bytes, `<|endoftext|>`; nothing is unknown to it.
- A folder's class is the generic fast tokenizer: BERT's own class would build another normalizer than the file's.
"""

from __future__ import annotations

import itertools
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from ..errors import AttarError, UsageError
from ..files import write_json, write_text
from ..tasks.corpus import Corpus

BERT_SPECIAL = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
END_OF_TEXT = "<|endoftext|>"
GPT_SPECIAL = dict.fromkeys(("bos", "eos", "unk", "pad"), END_OF_TEXT)


def train(
    corpus: Corpus,
    kind: Literal["wordpiece", "bpe"],
    size: int,
    folder: Path,
    *,
    lowercase: bool = True,
    strip_accents: bool | None = None,
    special: Sequence[str] = (),
    min_frequency: int = 2,
    share: float = 1.0,
    max_length: int = 512,
) -> Tokenizer:
    """Train a vocabulary of at most `size` pieces on the corpus and save it in `folder`.

    `lowercase` and `strip_accents` (as `lowercase` where not given, as BERT does) are WordPiece's; BPE keeps every
    byte. `special` are pieces beside the usual ones, such as GPT-1's start, delimiter and extract.
    """
    if kind == "wordpiece":
        tokenizer = wordpiece({}, lowercase=lowercase, strip_accents=strip_accents, compose=True)
        fixed = [*BERT_SPECIAL.values(), *special]
        _check_size(size, len(fixed), 1)
        vocabulary = _wordpiece_pieces(tokenizer, corpus, size, fixed, min_frequency, share)
        tokenizer = wordpiece(vocabulary, lowercase=lowercase, strip_accents=strip_accents, compose=True)
    else:
        tokenizer = bpe({}, [])
        fixed = list(dict.fromkeys((END_OF_TEXT, *special)))
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        _check_size(size, len(fixed), len(alphabet))
        trainer = trainers.BpeTrainer(
            vocab_size=size,
            min_frequency=min_frequency,
            special_tokens=fixed,
            initial_alphabet=alphabet,
            show_progress=False,
        )
        tokenizer.train_from_iterator(_chosen(corpus, share), trainer)
    tokenizer.add_special_tokens(list(special))
    save(tokenizer, folder, special, max_length=max_length)
    return tokenizer


def wordpiece(
    vocabulary: dict[str, int], *, lowercase: bool, strip_accents: bool | None = None, compose: bool = False
) -> Tokenizer:
    """BERT's tokenizer over the pieces; `compose` puts NFC behind its normalizer."""
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=BERT_SPECIAL["unk"]))
    normalizer = normalizers.BertNormalizer(lowercase=lowercase, strip_accents=strip_accents)
    tokenizer.normalizer = normalizers.Sequence([normalizer, normalizers.NFC()]) if compose else normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    if vocabulary:
        tokenizer.add_special_tokens(list(BERT_SPECIAL.values()))
        ends = [(piece, vocabulary[piece]) for piece in (BERT_SPECIAL["cls"], BERT_SPECIAL["sep"])]
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
        )
    return tokenizer


def bpe(vocabulary: dict[str, int], merges: Sequence[tuple[str, str]]) -> Tokenizer:
    """GPT-2's tokenizer over the pieces and merges."""
    tokenizer = Tokenizer(models.BPE(vocabulary, list(merges)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    if vocabulary:
        tokenizer.add_special_tokens([END_OF_TEXT])
    return tokenizer


def save(tokenizer: Tokenizer, folder: Path, special: Sequence[str] = (), *, max_length: int = 512) -> None:
    """Write `tokenizer.json`, `tokenizer_config.json` and `special_tokens_map.json`."""
    bert = isinstance(tokenizer.model, models.WordPiece)
    roles: dict[str, Any] = {f"{role}_token": piece for role, piece in (BERT_SPECIAL if bert else GPT_SPECIAL).items()}
    if special:
        roles["additional_special_tokens"] = list(special)
    inputs = ["input_ids", *(["token_type_ids"] if bert else []), "attention_mask"]
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": max_length, "model_input_names": inputs}
    write_json(folder / "tokenizer_config.json", config | {"clean_up_tokenization_spaces": False} | roles)
    write_json(folder / "special_tokens_map.json", roles)
    write_text(folder / "tokenizer.json", tokenizer.to_str(pretty=True))


def _check_size(size: int, special: int, alphabet: int) -> None:
    if size <= special + alphabet:
        raise UsageError(
            f"a vocabulary of {size} has no room: {special} special pieces and {alphabet} characters come first",
            fix="ask for more pieces",
        )


def _chosen(corpus: Corpus, share: float) -> Iterator[str]:
    """The passages that the vocabulary is learnt from, at least one."""
    chosen = 0
    for passage in corpus.passages():
        if zlib.crc32(passage.encode()) < share * 2**32:
            chosen += 1
            yield passage
    if not chosen:
        raise AttarError(f"no passage is left of a share of {share}", where=str(corpus.files[0]), fix="raise `share`")


def _wordpiece_pieces(
    tokenizer: Tokenizer, corpus: Corpus, size: int, fixed: list[str], min_frequency: int, share: float
) -> dict[str, int]:
    """Trained pieces numbered: special ones, characters, `##` characters, then in the order they were learnt."""
    first, following = _alphabet(tokenizer, corpus, share, max(1, (size - len(fixed)) // 4))
    continuing = [f"##{character}" for character in following]
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        min_frequency=min_frequency,
        special_tokens=[*fixed, *continuing],  # special only here, to have their numbers before the words are seen
        initial_alphabet=first,
        limit_alphabet=len(first),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_chosen(corpus, share), trainer)
    learnt = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__)
    ordered = dict.fromkeys([*fixed, *first, *continuing, *learnt])
    return {piece: number for number, piece in enumerate(ordered)}


def _alphabet(tokenizer: Tokenizer, corpus: Corpus, share: float, limit: int) -> tuple[list[str], list[str]]:
    """The `limit` most frequent characters, and those of them that stand inside words; by code point."""
    counts: Counter[str] = Counter()
    pairs: set[tuple[str, str]] = set()
    assert tokenizer.normalizer is not None  # WordPiece has one
    for passage in _chosen(corpus, share):
        text = tokenizer.normalizer.normalize_str(passage)
        counts.update(text)
        pairs.update(itertools.pairwise(text))
    ranked = sorted((c for c in counts if not c.isspace()), key=lambda c: (-counts[c], c))
    first = sorted(ranked[:limit])
    kept = {character for character in first if not _stands_alone(character)}
    return first, sorted({after for before, after in pairs if after in kept and not _stands_alone(before)})


def _stands_alone(character: str) -> bool:
    """Whether BERT splits at the character: whitespace and punctuation, that of ASCII including its symbols."""
    if character.isspace():
        return True
    category = unicodedata.category(character)
    return category.startswith("P") or (character.isascii() and not character.isalnum())
