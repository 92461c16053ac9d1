"""Tests, benchmarks and the fault matrix."""
