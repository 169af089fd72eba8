"""Simulated EC2: instances, fleets, launch templates, networks, images, capacity."""
