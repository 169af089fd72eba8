"""Controllers: one package a domain, each observe, decide (pure) and act."""
