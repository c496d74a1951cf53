"""Benchmarks: guesthouse beside QEMU's TCG, on one kernel and one initramfs, in one run.

`python -m bench --help` says how.
"""
