"""The NodePools and the NodeClass that Auto Mode keeps in a cluster, where settings want them."""
