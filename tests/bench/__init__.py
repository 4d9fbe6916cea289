"""Benchmarks: `.venv/bin/python -m tests.bench` runs all of them and prints their tables in Markdown."""
