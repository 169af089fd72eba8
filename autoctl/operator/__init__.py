"""The operator process: settings, wiring, leader election, health and metrics."""
