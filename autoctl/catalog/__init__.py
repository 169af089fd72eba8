"""The catalog: instance types, their offerings and prices, what a node of each can allocate."""
