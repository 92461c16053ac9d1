"""The benchmarks: ratios and counts, measured side by side on the stand-ins. Run by `python -m tests.bench`."""
