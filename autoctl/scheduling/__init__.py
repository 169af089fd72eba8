"""Scheduling: which pods go where, and which nodes to buy for the rest.

Pure: a `problem.SchedulingProblem` goes in, a `problem.Solution` comes out, the same one every
time. The same `solve` serves the operator, `plan`, `explain`, `simulate` and consolidation.
"""
