"""CapacityBuffers: what they come to, and whether their room is there."""
