"""The end of nodes: drained, their volumes detached, their instances gone, then forgotten."""
