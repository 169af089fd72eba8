"""NodeOverlays: whether they are in force."""
