"""What must hold in every world, whatever happens in it.

Checked from outside: by the store's objects, the cloud's instances and the requests that the
operator makes, never by what the operator says of itself.
"""

from autoctl.simulate.invariants.violations import Invariants, Violation

__all__ = ["Invariants", "Violation"]
