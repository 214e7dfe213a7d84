"""Fuzz targets: one file each, its invariant first. `targets.py` lists them, `test_targets.py` runs each on its seeds and on what
hypothesis draws, `run.py` searches with coverage (`make fuzz`).

What a search finds is mended, and its input becomes a file of tests/vectors/fuzz/TARGET.
"""
