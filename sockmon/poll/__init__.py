"""From the kernel to an Observation, poll after poll."""
