"""What developers run beside the server: `make help` names it."""
