"""From sensor data to a photograph, and the tuning task on top of it."""
