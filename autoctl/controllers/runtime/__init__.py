"""What every controller runs on: work queues, the manager, events and metrics.

Nothing here reads a clock but the event loop's, so that all of it runs under virtual time.
"""
