"""Price-aware vector bin packing: shapes of pods into bins that exist and nodes that can be bought.

`solve.pack` answers a `model.PackingInput`; `repack.choose_repack` asks which nodes to give up.
"""
