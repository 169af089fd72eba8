"""The API: models of the custom resources, their rules, and the core objects decisions read."""
