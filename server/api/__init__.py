"""The HTTP interface: a thin module for each resource, one table of routes, one way from a request to its answer."""
