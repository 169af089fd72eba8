"""Instances that are about to go or are broken, and nodes that are unwell."""
