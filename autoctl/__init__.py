"""autoctl: an open-source EKS Auto Mode, run as a Kubernetes operator."""

__version__ = "0.1.0"
