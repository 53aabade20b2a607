"""What vectors are worth: probes, clusterings, and how they spread over the sphere."""
