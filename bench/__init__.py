"""Benchmarks: guesthouse beside QEMU's TCG, on the same kernels, programs and media, in one run.

`python -m bench --help` says how.
"""
