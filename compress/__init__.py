"""Compression: losses, distillation, quantization."""
