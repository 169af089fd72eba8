"""A real Kubernetes control plane without containers, for the tests and for `make cluster`.

`build` makes the programs from pinned Go modules, `plane` runs them.
"""
