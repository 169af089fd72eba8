"""Disruption: which nodes go, what replaces them, and how that is carried out."""
