"""What crosses the network, typed in both directions; no I/O. The numbers and names of the wire live here alone."""
