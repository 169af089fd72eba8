"""The adapter to a real API server: configuration and credentials, and the client."""
