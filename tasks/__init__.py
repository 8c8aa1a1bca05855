"""What is learnt and scored: readers, encoding, batching, metrics."""
