"""The product from outside: real server processes on both backends, spoken to by the wire contract alone."""
