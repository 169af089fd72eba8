"""NodeClaims: launched, registered, initialized, given up in time, and cleaned up after."""
