"""Playing scenarios, traces and benchmarks on the simulated world with the operator's own code."""
