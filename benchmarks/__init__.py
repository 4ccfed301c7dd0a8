"""Benchmarks: figures beside the controls that were measured in the same run."""
