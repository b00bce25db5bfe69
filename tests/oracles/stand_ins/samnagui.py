"""Stands in for samna's viewer, which sinabs imports and does not use without a device; see ``samna.py``."""
