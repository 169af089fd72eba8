"""The Kubernetes seam against a real API server."""
