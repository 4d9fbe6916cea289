"""The two WebSocket endpoints, on one connection core."""
