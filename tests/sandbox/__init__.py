"""Tests of the sandbox and of dev.py."""
